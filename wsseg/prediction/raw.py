"""Raw images as the slices a checkpoint was trained on, and the way back to their voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.anatomy import find_anatomy, reference_of
from wsseg.data.geometry import Geometry
from wsseg.data.layouts import CaseFiles
from wsseg.data.readers import Header, read_voxels
from wsseg.data.slicing import cut_all, slices_to_volume
from wsseg.data.spec import DataSpec
from wsseg.data.volumes import CaseImages, read_case_images
from wsseg.prediction.fit_to_plan import misfit

NO_BODY = "no body was found in the image"


class RawCase(NamedTuple):
    """A case as slices.

    Attributes:
        id: Name of the case.
        image: [S, M, H, W] float32, normalised.
        valid: [S, H, W] bool.
        geometry: How the slices lie in the source.
        source: The voxels on which the mask belongs.
        volumes: Of each modality that is shown [X, Y, Z], as they were read.
        path: File or folder of the first modality.
        note: Why it does not look like the cases of training; nothing if it does.
    """

    id: str
    image: Tensor
    valid: Tensor
    geometry: Geometry
    source: Header
    volumes: tuple[NDArray[Any], ...]
    path: Path
    note: str = ""

    def mask_of(self, probability: Tensor, threshold: float) -> NDArray[np.bool_]:
        """Return where a probability [S, C, H, W] exceeds a threshold, [C, X, Y, Z] of the source.

        See :func:`masks_on_source`.
        """
        return masks_on_source(probability, threshold, self.geometry)


def masks_on_source(probability: Tensor, threshold: float, geometry: Geometry) -> NDArray[np.bool_]:
    """Return where the probability in slices exceeds a threshold, on the voxels of the source.

    Where the pixels of slices are the source's own, the order does not matter, and masks take a
    quarter of the memory.

    Args:
        probability: [S, C, H, W].
        threshold: The threshold.
        geometry: How the slices lie in the source.

    Returns:
        [C, X, Y, Z].
    """
    if geometry.resamples:
        return slices_to_volume(probability.numpy(), geometry) > threshold
    return slices_to_volume((probability > threshold).numpy(), geometry)


def read_raw_case(files: CaseFiles, spec: DataSpec) -> RawCase:
    """Read and verify a case and cut it into slices.

    Args:
        files: Where the images are.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: An image cannot be used.
    """
    as_is = not spec.plan.shifts_background
    return raw_case_of(read_case_images(files, spec.modalities, as_is=as_is), files, spec)


def raw_case_of(images: CaseImages, files: CaseFiles, spec: DataSpec) -> RawCase:
    """Cut the images of a case into slices.

    Args:
        images: What was read of it.
        files: Where the images are.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: An image cannot be read once more.
    """
    anatomy = find_anatomy(images.volumes, images.affine, spec)
    image, valid, geometry = cut_all(anatomy, spec, grow=True)
    note = NO_BODY
    if anatomy.inside.any():
        note = misfit(reference_of(anatomy), spec.plan, spec.modalities)
    changed = images.source.is_picture and spec.plan.shifts_background
    return RawCase(
        files.id,
        torch.from_numpy(image),
        torch.from_numpy(valid),
        geometry,
        images.source,
        pixels_of(files, spec) if changed else images.volumes[: len(spec.shown)],
        files.images[spec.modalities[0]].path,
        note,
    )


def pixels_of(files: CaseFiles, spec: DataSpec) -> tuple[NDArray[Any], ...]:
    """Read the pixels of a picture once more, without any change to its background.

    Args:
        files: Where the images are.
        spec: The data specification of the checkpoint.

    Returns:
        Of each modality [X, Y, 1].
    """
    arrays = {image.path: read_voxels(image.path, files.id)[1] for image in files.images.values()}
    places = (files.images[name] for name in spec.modalities)
    return tuple(
        arrays[path][..., channel or 0] if arrays[path].ndim == 4 else arrays[path]
        for path, channel in places
    )
