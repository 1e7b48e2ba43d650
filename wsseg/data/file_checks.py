"""Checks of a case's files by their headers: volumes of a case must share one grid of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.layouts.cases import CaseFiles, ImageFile
from wsseg.data.nifti import read_header, squeezed
from wsseg.data.nifti_header import affine_in_mm
from wsseg.data.tags import read_tags
from wsseg.data.tiff_stack import slice_paths
from wsseg.utils.errors import InputError, attempt, results

# Pixels: a slice that is to be resampled to more than this has a wrong spacing in its header, or a
# wrong --spacing was given, and would fill the memory. Not measured.
LONGEST_SIDE = 4096
# Share of a voxel: how far the corners of two volumes of a case may lie apart. Tools that write
# headers round them; a shift that is larger than this moves borders. Not measured.
LARGEST_SHIFT = 0.05


class Grid(NamedTuple):
    """The voxels of a file.

    Attributes:
        shape: Number along each axis; a fourth axis is that of channels.
        affine: [4, 4], voxel to RAS+ millimetres.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    @classmethod
    def of(cls, header: nib.Nifti1Header) -> Grid:
        """Return the grid that a header describes."""
        return cls(squeezed(header.get_data_shape()), affine_in_mm(header))


def check_files(
    case: CaseFiles, classes: Sequence[str], axis: str, spacing: float | None = None
) -> None:
    """Check all that can be known of a case without reading its volumes.

    Args:
        case: Its files.
        classes: Names of the classes, for the table of tags.
        axis: Slicing axis.
        spacing: Pixel size of slices in mm; None for that of the volumes.

    Raises:
        InputError: A file is missing or has no valid header, volumes differ in shape or position,
            slices would be enormous, or the table of tags is not as it must be.
    """
    images = list(case.images.values())
    _check_named_once(case)
    first = images[0].path
    if first.is_dir():
        depth = len(slice_paths(first, case.id))
    else:
        images += [ImageFile(case.mask)] if case.mask else []
        paths = dict.fromkeys(image.path for image in images)
        headers = results(attempt(read_header, path, case.id) for path in paths)
        grids = dict(zip(paths, map(Grid.of, headers), strict=True))
        results(attempt(check_channel, grids[i.path].shape, i, case.id) for i in images)
        results(
            attempt(check_grid, path, grid, case.id, grids[first], first)
            for path, grid in grids.items()
        )
        place = grids[first]
        whole = whole_plane_geometry(place.shape[:3], place.affine, axis, spacing)
        depth = whole.depth
        if spacing is not None and max(whole.resampled) > max(LONGEST_SIDE, *whole.plane):
            raise InputError(
                f"--spacing {spacing:g}: slices of case {case.id} would be {whole.resampled[0]} x "
                f"{whole.resampled[1]} pixels; give millimetres (those of the case are "
                f"{whole.pixel[0]:.3g} x {whole.pixel[1]:.3g})"
            )
    if case.tags:
        read_tags(case.tags, case.id, classes, depth)


def _check_named_once(case: CaseFiles) -> None:
    mask = {"mask": ImageFile(case.mask)} if case.mask else {}
    users: dict[ImageFile, list[str]] = {}
    for name, (path, channel) in {**case.images, **mask}.items():
        users.setdefault(ImageFile(path.resolve(), channel), []).append(name)
    for place, names in users.items():
        if len(names) > 1:
            raise InputError(
                f"{place.path}: is named for both {' and '.join(names)} of case {case.id}; correct "
                "one of them"
            )


def check_channel(shape: tuple[int, ...], place: ImageFile, case: str) -> None:
    """Refuse a volume that lacks the channel of the modality.

    Args:
        shape: Of the file's voxels.
        place: The file and the channel.
        case: Name of the case, for the message.

    Raises:
        InputError: There is no such channel, or several where none is named.
    """
    count = shape[3] if len(shape) == 4 else 1
    if len(shape) not in (3, 4) or (place.channel or 0) >= count:
        raise InputError(
            f"{place.path} (case {case}): has shape {shape}, where channel "
            f"{place.channel or 0} of a volume is expected; correct the file or its description"
        )
    if place.channel is None and count > 1:
        raise InputError(
            f"{place.path} (case {case}): has {count} channels, where one is expected; split it "
            "into single-channel files"
        )


def check_grid(path: Path, grid: Grid, case: str, reference: Grid, reference_path: Path) -> None:
    """Refuse a volume whose grid of voxels is not that of the case's first one.

    Args:
        path: Its file.
        grid: Where it lies.
        case: Name of the case, for the message.
        reference: Where it should lie.
        reference_path: File of the other one.

    Raises:
        InputError: Shapes or positions differ.
    """
    shape, expected = grid.shape[:3], reference.shape[:3]
    advice = f"resample it to the grid of {reference_path.name}, or remove the case"
    if shape != expected:
        raise InputError(f"{path} (case {case}): shape {shape} differs from {expected}; {advice}")
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    corners[3] = 1
    voxel = np.linalg.norm(reference.affine[:3, :3], axis=0).min()
    if np.abs((grid.affine - reference.affine) @ corners).max() > LARGEST_SHIFT * voxel:
        raise InputError(
            f"{path} (case {case}): affine differs from that of {reference_path.name}; {advice}"
        )
