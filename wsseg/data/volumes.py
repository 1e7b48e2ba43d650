"""Reads the volumes of a case and refuses, in one line, what cannot be used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.body import background_of
from wsseg.data.file_checks import check_channel, check_grid
from wsseg.data.layouts.cases import CaseFiles, ImageFile, MaskFile
from wsseg.data.planes import box_of
from wsseg.data.readers import Header, read_voxels
from wsseg.data.tags import SliceTags
from wsseg.utils.errors import InputError, attempt, results


class CaseImages(NamedTuple):
    """The images of a case on one voxel grid.

    Attributes:
        volumes: Of each modality [X, Y, Z], whole numbers of at most 16 bits or float32.
        source: Where the voxels of the first modality lie.
    """

    volumes: tuple[NDArray[Any], ...]
    source: Header

    @property
    def affine(self) -> NDArray[np.float64]:
        """[4, 4], voxel to RAS+ millimetres."""
        return self.source.affine


class CaseLabels(NamedTuple):
    """The label volume of a case.

    Attributes:
        volume: [X, Y, Z] whole numbers, of whatever type.
        box: What holds all labels but 0; everything if there is none.
        bits: Empty; or, where labels may overlap, which label each bit of a number stands for.
    """

    volume: NDArray[Any]
    box: tuple[slice, ...]
    bits: tuple[int, ...] = ()


def read_case_images(
    case: CaseFiles, modalities: Sequence[str], *, as_is: bool = False
) -> CaseImages:
    """Read and verify the images of a case.

    Args:
        case: Its files.
        modalities: Which to read, in the order of the channels.
        as_is: Whether the background keeps its value, instead of being shifted to 0.

    Raises:
        InputError: A file cannot be read, or the volumes are not finite, are empty or constant, or
            differ in shape or position.
    """
    paths = list(dict.fromkeys(case.images[name].path for name in modalities))
    with ThreadPoolExecutor(len(paths)) as pool:  # most of it is decompression, outside the GIL
        read = pool.map(lambda path: attempt(read_voxels, path, case.id), paths)
        files = dict(zip(paths, results(read), strict=True))
    first = paths[0]
    source, _ = files[first]
    for path, (header, _) in files.items():
        check_grid(path, header, case.id, source, first)

    def volume_of(name: str) -> NDArray[Any]:
        place = case.images[name]
        volume = _channel(*files[place.path], place, case.id)
        volume = volume if as_is else without_background(volume)
        _check_values(volume, place.path, f"case {case.id}, {name}")
        return volume

    volumes = [attempt(volume_of, name) for name in modalities]
    faults: dict[Path, InputError] = {}  # one of each file: all colours mostly have the same
    for name, volume in zip(modalities, volumes, strict=True):
        if isinstance(volume, InputError):
            faults.setdefault(case.images[name].path, volume)
    results(faults.values())
    return CaseImages(tuple(results(volumes)), source)


def read_case_mask(case: CaseFiles, labels: Collection[int], images: CaseImages) -> CaseLabels:
    """Read and verify the label volume of a case.

    Args:
        case: Its files, with a mask.
        labels: Every label that the mask may hold.
        images: The images that it must lie on.

    Raises:
        InputError: There is no mask, it cannot be read, lies elsewhere than the images or holds
            unknown labels.
    """
    if case.mask is None:
        raise InputError(f"case {case.id}: has no mask; add one")
    if isinstance(case.mask, tuple):
        return _joined(case, case.mask, images)
    path = case.mask
    volume = _read_mask(path, case, images)
    if images.source.is_picture:
        shown = case.tags.shown_labels if isinstance(case.tags, SliceTags) else ()
        volume = with_label(volume, labels, shown)
    return known_labels(
        volume,
        labels,
        f"{path}: mask of case {case.id}",
        "correct the mask, or declare the label in the datalist (`labels`), or give a file for "
        "each class in a table (`mask:CLASS`)",
    )


def known_labels(
    volume: NDArray[Any], labels: Collection[int], what: str, advice: str
) -> CaseLabels:
    """Find the labels of a mask, and refuse one that is unknown.

    Args:
        volume: [X, Y, Z] of any type.
        labels: Every label that the mask may hold.
        what: File and name of the mask, for the message.
        advice: What to do about an unknown label.

    Raises:
        InputError: The mask holds an unknown label.
    """
    box = box_of(volume != 0)
    found = np.unique(volume[box])
    if (found != np.rint(found)).any():  # scaled integers come back as 0.99999994
        nearest = np.rint(volume)
        volume = np.where(np.abs(volume - nearest) < 1e-3, nearest, volume)
        found = np.unique(volume[box])
    unknown = [value for value in found.tolist() if value not in labels]
    if unknown:
        raise InputError(
            f"{what} holds the unknown label {unknown[0]:g}; known are "
            f"{', '.join(map(str, sorted(labels)))}; {advice}"
        )
    return CaseLabels(volume, box)


def without_background(volume: NDArray[Any]) -> NDArray[Any]:
    """Shift a volume so that its background is 0, as where z-scores were taken beforehand.

    The background is the value that all eight corners share; if they differ, it is 0 already.

    Args:
        volume: [X, Y, Z].
    """
    background = background_of(volume)
    return volume.astype(np.float32) - np.float32(background) if background else volume


def class_masks(labels: CaseLabels, classes: dict[str, tuple[int, ...]]) -> NDArray[np.bool_]:
    """Return where each class is, [C, X, Y, Z]."""
    masks = np.zeros((len(classes), *labels.volume.T.shape), bool).transpose(0, 3, 2, 1)
    inside = labels.volume[labels.box]
    for mask, values in zip(masks, classes.values(), strict=True):
        if labels.bits:
            mask[labels.box] = inside & _bits(labels.bits, values) != 0
        else:
            mask[labels.box] = np.isin(inside, values)
    return masks


def _bits(labels: Sequence[int], values: Collection[int]) -> int:
    """Return the number whose bits stand for some of the labels."""
    return sum(1 << n for n, label in enumerate(labels) if label in values)


def _joined(case: CaseFiles, masks: Sequence[MaskFile], images: CaseImages) -> CaseLabels:
    """Read masks of one label each, which may overlap, as one volume."""
    bits = tuple(sorted({mask.label for mask in masks}))
    volume = np.zeros(images.volumes[0].shape, np.min_scalar_type((1 << len(bits)) - 1))
    for mask in masks:
        volume[_read_mask(mask.path, case, images) != 0] |= _bits(bits, (mask.label,))
    return CaseLabels(volume, box_of(volume != 0), bits)


def _read_mask(path: Path, case: CaseFiles, images: CaseImages) -> NDArray[Any]:
    header, volume = read_mask(path, case.id)
    check_grid(path, header, case.id, images.source, case.paths[0])
    return volume


def read_mask(path: Path, case: str) -> tuple[Header, NDArray[Any]]:
    """Read one file of a mask.

    Args:
        path: The file.
        case: Name of the case, for messages.

    Returns:
        Where its voxels lie, and their values, [X, Y, Z] of any type.

    Raises:
        InputError: It cannot be read, or has several channels.
    """
    header, array = read_voxels(path, case, mask=True)
    return header, _channel(header, array, ImageFile(path), case)


def _channel(header: Header, array: NDArray[Any], place: ImageFile, case: str) -> NDArray[Any]:
    check_channel(header, place, case)
    if header.channels == 1:
        return array
    if place.channel is None and (array != array[..., :1]).any():
        raise InputError(
            f"{place.path} (case {case}): is in colour, where a grey image is expected; "
            f"save it as grey, or prepare all with --modalities '[{', '.join(header.names)}]'"
        )
    return array[..., place.channel or 0]


def with_label(
    volume: NDArray[Any], labels: Collection[int], shown: Collection[int]
) -> NDArray[Any]:
    """Return a mask in black and white as one of 0 and a label.

    Pictures show a mask in white, 255, where volumes hold a label such as 1. It is that of the only
    class, or of the only one that the case is tagged with.

    Args:
        volume: [X, Y, Z].
        labels: Every label that the mask may hold.
        shown: Those of the classes that the case is tagged with; empty if that is not known.

    Example:
        >>> with_label(np.uint8([[[0], [255]]]), labels=[0, 1], shown=()).tolist()
        [[[0], [1]]]
    """
    known = set(labels) - {0}
    if len(known) > 1:
        known = set(shown)
    value = volume.max()
    only = len(known) == 1 and value not in labels and ((volume == 0) | (volume == value)).all()
    return np.where(volume == value, known.pop(), 0) if only else volume


def _check_values(volume: NDArray[Any], path: Path, what: str) -> None:
    low, high = (float(volume.min()), float(volume.max())) if volume.size else (0.0, 0.0)
    extreme = low if low < 0 else high
    problem = ""
    if not (np.isfinite(low) and np.isfinite(high)):
        problem = "holds NaN or infinite voxels"
    elif extreme == 0:
        problem = "is empty or constant (no voxel, or the same value in all of them)"
    elif low == high or (low * high == 0 and not _any_between(volume, extreme)):
        problem = f"is constant ({extreme:g} wherever it is not 0)"
    if problem:
        raise InputError(f"{path}: {what} {problem}; replace the file or remove the case")


def _any_between(volume: NDArray[Any], extreme: float) -> bool:
    """Tell whether a voxel is neither 0 nor the extreme, looking no further than the first."""
    return any(((plane != 0) & (plane != extreme)).any() for plane in volume.T)
