"""Raw volumes as the slices a checkpoint was trained on, and the way back to their voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.geometry import Geometry
from wsseg.data.layouts import CaseFiles, ImageFile, detect, find_cases
from wsseg.data.layouts.cases import sorted_cases
from wsseg.data.readers import Header, is_readable, stem
from wsseg.data.slicing import slices_to_volume, volume_to_slices
from wsseg.data.spec import DataSpec
from wsseg.data.volumes import read_case_images
from wsseg.utils.errors import InputError


class RawCase(NamedTuple):
    """A case as slices.

    Attributes:
        id: Name of the case.
        image: [S, M, H, W] float32, normalised.
        valid: [S, H, W] bool.
        geometry: How the slices lie in the source.
        source: The voxels on which the mask belongs.
    """

    id: str
    image: Tensor
    valid: Tensor
    geometry: Geometry
    source: Header

    def mask_of(self, probability: Tensor, threshold: float) -> NDArray[np.bool_]:
        """Return where a probability [S, C, H, W] exceeds a threshold, [C, X, Y, Z] of the source.

        Where the pixels of slices are the source's own, the order does not matter, and masks take
        a quarter of the memory.
        """
        if self.geometry.resamples:
            return slices_to_volume(probability.numpy(), self.geometry) > threshold
        return slices_to_volume((probability > threshold).numpy(), self.geometry)


def find_raw_cases(
    source: Path, layout: str | None, spec: DataSpec
) -> tuple[Sequence[CaseFiles], list[InputError]]:
    """Find the cases that have every modality of a checkpoint, and say what others lack.

    Args:
        source: Folder of one case or of many, a file that lists them, or of a single modality
            images of any name and format, or one.
        layout: Name of the layout; None to find it out.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: There is no case.
    """
    try:
        name = layout or detect(source)
    except InputError as unknown:
        return lone_volumes(source, spec, unknown), []
    needed = f"(the checkpoint takes {', '.join(spec.modalities)})"
    try:
        listed = find_cases(name, source, spec.modalities)
    except InputError as error:
        raise InputError(f"{error} {needed}") from None
    return listed.cases, [InputError(f"{fault} {needed}") for fault in listed.faults]


def lone_volumes(source: Path, spec: DataSpec, otherwise: InputError) -> tuple[CaseFiles, ...]:
    """Find volumes that each make a case, as for a checkpoint that takes one modality.

    Args:
        source: An image, or a folder of some.
        spec: The data specification of the checkpoint.
        otherwise: What to raise if there are none.

    Raises:
        InputError: There is none, the checkpoint takes more, or two have the same name.
    """
    files = sorted(source.glob("[!.]*")) if source.is_dir() else [source]
    volumes = [path for path in files if is_readable(path)]
    if not volumes:
        raise otherwise
    needed = ", ".join(spec.modalities)
    if len(spec.modalities) > 1:
        raise InputError(
            f"{volumes[0]}: is a single image, but the checkpoint takes {needed}; list the files "
            "of each case in a datalist"
        )
    cases = [CaseFiles(stem(path), {needed: ImageFile(path)}) for path in volumes]
    return sorted_cases(source, cases, "images")


def read_raw_case(files: CaseFiles, spec: DataSpec) -> RawCase:
    """Read and verify a case and cut it into slices.

    Args:
        files: Where the images are.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: An image cannot be used.
    """
    images = read_case_images(files, spec.modalities)
    image, valid, geometry = volume_to_slices(images.volumes, images.affine, spec, grow=True)
    return RawCase(
        files.id, torch.from_numpy(image), torch.from_numpy(valid), geometry, images.source
    )
