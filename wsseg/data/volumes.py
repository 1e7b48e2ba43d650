"""Reads the volumes of a case and refuses, in one line, what cannot be used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.layouts.cases import CaseFiles, ImageFile
from wsseg.data.nifti import read_nifti, scaled_array
from wsseg.errors import InputError

SHIFT = 0.05  # corners of two volumes may lie this share of a voxel apart


class CaseImages(NamedTuple):
    """The images of a case on one voxel grid.

    Attributes:
        array: [M, X, Y, Z] float32.
        affine: [4, 4], voxel to RAS+ millimetres.
        source: The first modality as an image, for its header.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]
    source: nib.Nifti1Image


class _File(NamedTuple):
    array: NDArray[np.float32]  # [X, Y, Z], or [X, Y, Z, channels]
    image: nib.Nifti1Image


def read_case_images(case: CaseFiles, modalities: Sequence[str]) -> CaseImages:
    """Read and verify the images of a case.

    Args:
        case: Its files.
        modalities: Which to read, in the order of the channels.

    Raises:
        InputError: A file cannot be read, or the volumes are not finite, are empty or constant, or
            differ in shape or position.
    """
    paths = list(dict.fromkeys(case.images[name].path for name in modalities))
    with ThreadPoolExecutor(len(paths)) as pool:  # most of it is decompression, outside the GIL
        files = dict(zip(paths, pool.map(_read_file, paths, repeat(case.id)), strict=True))
    volumes: list[NDArray[np.float32]] = []
    first = paths[0]
    for name in modalities:
        place = case.images[name]
        volume = _channel(files[place.path].array, place, case.id)
        volume = without_background(volume)
        _check_values(volume, place.path, f"case {case.id}, {name}")
        _check_grid(place.path, files[place.path].image, volume.shape, case.id, files[first], first)
        volumes.append(volume)
    image = files[first].image
    return CaseImages(np.stack(volumes), np.asarray(image.affine, np.float64), image)


def read_case_mask(
    case: CaseFiles, labels: Collection[int], images: CaseImages
) -> NDArray[np.int16]:
    """Read and verify the label volume of a case.

    Args:
        case: Its files, with a mask.
        labels: Every label that the mask may hold.
        images: The images that it must lie on.

    Returns:
        [X, Y, Z] labels.

    Raises:
        InputError: There is no mask, it cannot be read, lies elsewhere than the images or holds
            unknown labels.
    """
    path = case.mask
    if path is None:
        raise InputError(f"{case.id}: the case has no mask; add one")
    volume, image = _read_mask_file(path, case.id)
    first = next(iter(case.images.values())).path
    reference = _File(images.array[0], images.source)
    _check_grid(path, image, volume.shape, case.id, reference, first)
    found = np.unique(volume)
    if (found != np.rint(found)).any():  # scaled integers come back as 0.99999994
        nearest = np.rint(volume)
        volume = np.where(np.abs(volume - nearest) < 1e-3, nearest, volume)
        found = np.unique(volume)
    unknown = [value for value in found.tolist() if value not in labels]
    if unknown:
        raise InputError(
            f"{path}: mask of case {case.id} holds the unknown label {unknown[0]:g}; known are "
            f"{', '.join(map(str, sorted(labels)))}: correct the mask or declare the label"
        )
    return volume.astype(np.int16)


def without_background(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift a volume so that its background is 0, as where z-scores were taken beforehand.

    The background is the value that all eight corners share; if they differ, it is 0 already.

    Args:
        volume: [X, Y, Z].
    """
    corners = volume[:: max(volume.shape[0] - 1, 1)]
    corners = corners[:, :: max(volume.shape[1] - 1, 1), :: max(volume.shape[2] - 1, 1)]
    background = corners.flat[0] if corners.size else np.float32(0)
    same = bool((corners == background).all())
    return volume - background if same and background != 0 else volume


def class_masks(
    labels: NDArray[np.int16], classes: dict[str, tuple[int, ...]]
) -> NDArray[np.bool_]:
    """Return where each class is, [C, X, Y, Z], from a label volume [X, Y, Z]."""
    return np.stack([np.isin(labels, values) for values in classes.values()])


def _read_file(path: Path, case: str) -> _File:
    if path.is_dir():
        from wsseg.data.tiff_stack import read_stack, stack_header

        stack = read_stack(path, case)
        return _File(np.moveaxis(stack, 0, -1), stack_header(stack.shape[1:]))
    image = read_nifti(path, case)
    return _File(scaled_array(image, path, case), image)


def _read_mask_file(path: Path, case: str) -> _File:
    if path.is_dir():
        from wsseg.data.tiff_stack import read_mask_stack, stack_header

        stack = read_mask_stack(path, case)
        return _File(stack, stack_header(stack.shape))
    image = read_nifti(path, case)
    return _File(scaled_array(image, path, case), image)


def _channel(array: NDArray[np.float32], place: ImageFile, case: str) -> NDArray[np.float32]:
    count = array.shape[3] if array.ndim == 4 else 1
    if array.ndim not in (3, 4) or (place.channel or 0) >= count:
        raise InputError(
            f"{place.path}: of case {case} has shape {array.shape}, where channel "
            f"{place.channel or 0} of a volume is expected; correct the file or its description"
        )
    if place.channel is None and count > 1:
        raise InputError(
            f"{place.path}: of case {case} has {count} channels, where one is expected; split it"
        )
    return array[..., place.channel or 0] if array.ndim == 4 else array


def _check_values(volume: NDArray[np.float32], path: Path, what: str) -> None:
    low, high = (volume.min(), volume.max()) if volume.size else (0.0, 0.0)
    extreme = low if low < 0 else high
    problem = ""
    if not (np.isfinite(low) and np.isfinite(high)):
        problem = "holds NaN or infinite voxels"
    elif extreme == 0:
        problem = "is empty (no voxel, or all of them 0)"
    elif low == high or (low * high == 0 and ((volume == 0) | (volume == extreme)).all()):
        problem = f"is constant ({extreme:g} wherever it is not 0)"
    if problem:
        raise InputError(f"{path}: {what} {problem}; replace the file or remove the case")


def _check_grid(
    path: Path,
    image: nib.Nifti1Image,
    shape: tuple[int, ...],
    case: str,
    reference: _File,
    reference_path: Path,
) -> None:
    expected = reference.array.shape[:3]
    advice = f"of case {case}; resample it to {reference_path.name} or remove the case"
    if shape != expected:
        raise InputError(f"{path}: shape {shape} differs from {expected} {advice}")
    affine, other = (np.asarray(i.affine, np.float64) for i in (image, reference.image))
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: the affine of case {case} is not usable; correct the header")
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    corners[3] = 1
    voxel = np.linalg.norm(other[:3, :3], axis=0).min()
    if np.abs((affine - other) @ corners).max() > SHIFT * voxel:
        raise InputError(f"{path}: affine differs from that of {reference_path.name} {advice}")
