"""Reads folders of TIFF slices as volumes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.layouts.lgg import mask_file, slice_files
from wsseg.utils.errors import InputError

# Rows run to posterior and columns to the patient's left, as slices are shown; 1 mm voxels.
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


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


def stack_header(shape: tuple[int, ...]) -> nib.Nifti1Image:
    """Return an image that says where the voxels of a stack lie."""
    return nib.Nifti1Image(np.zeros(shape, np.uint8), AFFINE)


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
