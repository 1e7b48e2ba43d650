"""Reads folders of TIFF slices as volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsseg.data.layouts.lgg import mask_file, slice_files
from wsseg.data.readers.header import PICTURE_AFFINE, Header, Shape3
from wsseg.utils.errors import InputError


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Return where the voxels of a case lie, from the number of its slices and the first of them.

    Args:
        path: Folder with slices ``<case>_<number>.tif`` of three channels.
        case: Name of the case, for messages.
        mask: Whether that of the masks ``<case>_<number>_mask.tif`` is wanted.

    Raises:
        InputError: A slice is missing, or the first is unreadable.
    """
    paths = slice_paths(path, case)
    first = _read(mask_file(paths[0]) if mask else paths[0], case)
    return _header((first.shape[1], first.shape[0], len(paths)), mask)


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[np.float32]]:
    """Read the slices of a case.

    Args:
        path: Folder with slices ``<case>_<number>.tif`` of three channels.
        case: Name of the case, for messages.
        mask: Whether to read the masks ``<case>_<number>_mask.tif`` of 0 and 255 instead.

    Returns:
        The header, and [X, Y, Z, 3]; of masks [X, Y, Z], 255 as 1.

    Raises:
        InputError: A slice is missing, unreadable or of another shape.
    """
    stack = read_mask_stack(path, case) if mask else read_stack(path, case)
    x, y, z = stack.shape[:3]
    return _header((x, y, z), mask), stack


def is_stack(folder: Path) -> bool:
    """Tell whether a folder holds slices."""
    return bool(slice_files(folder))


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder in the order of their names, masks and all."""
    files = (file for file in sorted(folder.iterdir()) if not file.name.startswith("."))
    return [file for file in files if file.is_file()]


def read_stack(folder: Path, case: str) -> NDArray[np.float32]:
    """Read the image slices of a case.

    Args:
        folder: Folder with slices ``<case>_<number>.tif`` of three channels.
        case: Name of the case, for messages.

    Returns:
        [X, Y, Z, 3].

    Raises:
        InputError: A slice is missing, unreadable or of another shape.
    """
    slices = [_read(path, case) for path in slice_paths(folder, case)]
    if any(s.ndim != 3 or s.shape != slices[0].shape or s.shape[2] != 3 for s in slices):
        raise InputError(
            f"{folder}: slices of case {case} differ in shape or are not RGB; give all of them one "
            "shape and three channels"
        )
    return np.stack(slices).transpose(2, 1, 0, 3).astype(np.float32)


def read_mask_stack(folder: Path, case: str) -> NDArray[np.float32]:
    """Read the mask slices of a case.

    Args:
        folder: Folder with masks ``<case>_<number>_mask.tif`` of 0 and 255.
        case: Name of the case, for messages.

    Returns:
        [X, Y, Z], 255 as 1; other values stay, and are unknown labels.

    Raises:
        InputError: A mask is missing, unreadable or of another shape.
    """
    slices = [_read(mask_file(path), case) for path in slice_paths(folder, case)]
    if any(s.ndim != 2 or s.shape != slices[0].shape for s in slices):
        raise InputError(
            f"{folder}: masks of case {case} differ in shape; give all of them one shape"
        )
    volume = np.stack(slices).transpose(2, 1, 0).astype(np.float32)
    return np.where(volume == 255, np.float32(1), volume)


def slice_paths(folder: Path, case: str) -> list[Path]:
    """Return the image slices of a case in their order.

    Args:
        folder: Folder of the slices.
        case: Name of the case, for messages.

    Raises:
        InputError: There is none, or one is missing or there twice.
    """
    numbered = slice_files(folder) if folder.is_dir() else []
    if not numbered:
        raise InputError(f"{folder}: has no slices of case {case}; correct the path")
    present = [number for number, _ in numbered]
    missing = set(range(present[0], present[-1] + 1)) - set(present)
    if missing or len(set(present)) < len(present):
        problem = (
            f"lacks slice {min(missing)}; add it" if missing else "has a slice twice; remove one"
        )
        raise InputError(f"{folder}: case {case} {problem}, or remove the case")
    return [path for _, path in numbered]


def _header(shape: Shape3, mask: bool) -> Header:
    return Header(shape, PICTURE_AFFINE, 1 if mask else 3, "px")


def _read(path: Path, case: str) -> NDArray[np.float32]:
    import tifffile

    try:
        return np.asarray(tifffile.imread(path))
    except FileNotFoundError:
        raise InputError(f"{path} (case {case}): does not exist; add it") from None
    except Exception as error:  # the TIFF reader raises many kinds for a broken file
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        packed = "imagecodecs" in problem  # which decodes what tifffile cannot
        advice = "save it uncompressed, or pip install imagecodecs" if packed else "copy it again"
        raise InputError(
            f"{path} (case {case}): is not a readable TIFF ({problem}); {advice}"
        ) from None
