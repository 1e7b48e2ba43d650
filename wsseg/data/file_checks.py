"""Checks of a case's files by their headers: volumes of a case must share one grid of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.layouts.cases import CaseFiles, ImageFile
from wsseg.data.readers import COLOURS, Header, read_header
from wsseg.data.tags import Classes, read_tags
from wsseg.utils.errors import InputError, attempt, results

# Pixels: a slice that is to be resampled to more than this has a wrong spacing in its header, or a
# wrong --spacing was given, and would fill the memory. Not measured.
LONGEST_SIDE = 4096
SHORTEST_PLANE = (
    8  # Pixels: of slices whose longer side is shorter no network learns. Not measured.
)
# Share of a voxel: how far the corners of two volumes of a case may lie apart. Tools that write
# headers round them; a shift that is larger than this moves borders. Not measured.
LARGEST_SHIFT = 0.05


def check_files(case: CaseFiles, classes: Classes, axis: str) -> Header:
    """Check all that can be known of a case without reading its volumes.

    Args:
        case: Its files.
        classes: The mask labels of each class, for the tags.
        axis: Slicing axis.

    Returns:
        The header of the first image.

    Raises:
        InputError: A file is missing or has no valid header, volumes differ in shape or position,
            or the tags are not as they must be.
    """
    _check_named_once(case)
    headers = _read_headers(case)
    places = [(image, False) for image in case.images.values()]
    places += [(ImageFile(path), True) for path in case.masks]
    results(
        attempt(check_channel, headers[place.path, mask], place, case.id) for place, mask in places
    )
    first = places[0][0].path
    source = headers[first, False]
    results(
        attempt(check_grid, path, header, case.id, source, first)
        for (path, _), header in headers.items()
    )
    if case.tags:
        whole = whole_plane_geometry(source.shape, source.affine, axis, None)
        read_tags(case.tags, case.id, classes, whole.depth)
    return source


def check_spacing(
    cases: Sequence[CaseFiles], headers: Sequence[Header], axis: str, spacing: float
) -> None:
    """Refuse a pixel size at which slices would be enormous or next to nothing.

    Args:
        cases: The cases, for the message.
        headers: Of the first image of each.
        axis: Slicing axis.
        spacing: Pixel size of slices in mm.

    Raises:
        InputError: It is wrong for a case; the first one is named.
    """
    for case, source in zip(cases, headers, strict=True):
        whole = whole_plane_geometry(source.shape, source.affine, axis, spacing)
        longest = max(whole.resampled)
        if longest > max(LONGEST_SIDE, *whole.plane) or longest < SHORTEST_PLANE:
            raise InputError(
                f"--spacing {spacing:g}: slices of case {case.id} would be {whole.resampled[0]} x "
                f"{whole.resampled[1]} pixels; give {source.unit} (those of the case are "
                f"{whole.pixel[0]:.3g} x {whole.pixel[1]:.3g})"
            )


def _read_headers(case: CaseFiles) -> dict[tuple[Path, bool], Header]:
    """Return the header of each file of a case, by its path and whether it is the mask."""
    paths = dict.fromkeys((image.path, False) for image in case.images.values())
    paths |= dict.fromkeys((path, True) for path in case.masks)
    read = (attempt(read_header, path, case.id, mask=mask) for path, mask in paths)
    return dict(zip(paths, results(read), strict=True))


def _check_named_once(case: CaseFiles) -> None:
    masks = [("mask", ImageFile(path)) for path in case.masks]
    users: dict[ImageFile, list[str]] = {}
    for name, (path, channel) in [*case.images.items(), *masks]:
        users.setdefault(ImageFile(path.resolve(), channel), []).append(name)
    for place, names in users.items():
        if len(names) > 1:
            raise InputError(
                f"{place.path}: is named for both {' and '.join(names)} of case {case.id}; correct "
                "one of them"
            )


def check_channel(header: Header, place: ImageFile, case: str) -> None:
    """Refuse an image that lacks the channel of the modality.

    A grey picture has the same values in red, green and blue; and a colour picture may prove to be
    grey when its pixels are read.

    Args:
        header: Of the file.
        place: The file and the channel.
        case: Name of the case, for the message.

    Raises:
        InputError: There is no such channel, or several where none is named.
    """
    count = len(COLOURS) if header.is_picture and header.channels == 1 else header.channels
    if (place.channel or 0) >= count:
        raise InputError(
            f"{place.path} (case {case}): has {header.channels} channels, where channel "
            f"{place.channel} is expected (counted from 0); correct the file or its description"
        )
    if place.channel is None and header.channels > 1 and not header.names:
        raise InputError(
            f"{place.path} (case {case}): has {header.channels} channels, where one is expected; "
            "split it into single-channel files"
        )


def check_grid(
    path: Path, header: Header, case: str, reference: Header, reference_path: Path
) -> None:
    """Refuse an image whose grid of voxels is not that of the case's first one.

    Args:
        path: Its file.
        header: Where it lies.
        case: Name of the case, for the message.
        reference: Where it should lie.
        reference_path: File of the other one.

    Raises:
        InputError: Shapes or positions differ.
    """
    if problem := grid_problem(header, reference, reference_path.name):
        raise InputError(
            f"{path} (case {case}): {problem}; resample it to the grid of {reference_path.name}, "
            "or remove the case"
        )


def grid_problem(header: Header, reference: Header, name: str) -> str:
    """Say in which way a grid of voxels differs from another one; nothing if it does not.

    Args:
        header: Where the voxels of an image lie.
        reference: Where they should lie.
        name: Name of what lies there.

    Example:
        >>> grid_problem(Header((5, 5, 5), np.eye(4)), Header((5, 5, 4), np.eye(4)), "flair.nii")
        'shape (5, 5, 5) differs from (5, 5, 4)'
    """
    if header.shape != reference.shape:
        return f"shape {header.shape} differs from {reference.shape}"
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape], [1])).reshape(4, -1)
    corners[3] = 1
    voxel = np.linalg.norm(reference.affine[:3, :3], axis=0).min()
    shift = np.abs((header.affine - reference.affine) @ corners).max()
    return f"affine differs from that of {name}" if shift > LARGEST_SHIFT * voxel else ""
