"""Which files a prediction consists of, and how those of a case are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.labels import PREDICTED_MASKS, SLICER_FILE
from wsseg.data.readers import Header
from wsseg.prediction.label_files import SNAP_FILE
from wsseg.prediction.nifti import save_volume
from wsseg.prediction.png import save_plane

PICTURES, TABLE = "pictures", "cases.csv"
PROBABILITIES, DICOM_SEG = "probabilities", "dicom_seg"
OUTPUT_FOLDERS = (PREDICTED_MASKS, PICTURES, PROBABILITIES, DICOM_SEG)
SHARED_FILES = (TABLE, SNAP_FILE, SLICER_FILE)
SUFFIXES = (".nii.gz", ".png", ".tif")  # of volumes, of pictures, and of compressed ones
# Probabilities are rounded to multiples of it, which float32 holds exactly and gzip packs well.
PROBABILITY_STEP = 1 / 1024
LARGEST_PIXEL = 65_535  # of a PNG of 16 bits: a probability of 1


def probability_folder(name: str, label: int) -> str:
    """Return the folder that holds the probabilities of a class.

    Example:
        >>> probability_folder("cyst / mass", 3)
        'probabilities/3_cyst_mass'
    """
    safe = re.sub(r"[^\w.-]+", "_", name)
    return f"{PROBABILITIES}/{label}_{safe}"


def files_of_case(case: str, probabilities: Mapping[str, int]) -> list[str]:
    """List the files that may be written for a case, below the folder of the predictions.

    Args:
        case: Its id.
        probabilities: The label of each class whose probabilities are written, too.

    Example:
        >>> files_of_case("left/ann", {})
        ['masks/left/ann.nii.gz', 'masks/left/ann.png', 'masks/left/ann.tif',
         'pictures/left/ann.png', 'dicom_seg/left/ann.dcm']
    """
    folders = [PREDICTED_MASKS, *(probability_folder(*each) for each in probabilities.items())]
    volumes = [f"{folder}/{case}{suffix}" for folder in folders for suffix in SUFFIXES]
    return [*volumes, f"{PICTURES}/{case}.png", f"{DICOM_SEG}/{case}.dcm"]


def save_mask(labels: NDArray[Any], source: Header, output: Path, case: str) -> Path:
    """Write the mask of a case: NIfTI for a volume, PNG for a picture.

    Args:
        labels: [X, Y, Z] on the voxels of the source, of 8 or 16 bits.
        source: Where the voxels lie.
        output: Folder of the predictions.
        case: Id of the case.

    Returns:
        The file.
    """
    folder = output / PREDICTED_MASKS
    if source.is_picture:
        return save_plane(labels, folder / f"{case}.png")
    return save_volume(labels, source, folder / f"{case}.nii.gz")


def save_probability(
    probability: NDArray[np.float32], source: Header, folder: Path, case: str
) -> Path:
    """Write the probability of a class: float32 NIfTI for a volume, PNG of 16 bits for a picture.

    Args:
        probability: [X, Y, Z] on the voxels of the source.
        source: Where the voxels lie.
        folder: Folder of the class.
        case: Id of the case.

    Returns:
        The file. A PNG holds the probability times 65,535.
    """
    if source.is_picture:
        pixels = np.rint(probability * LARGEST_PIXEL).astype(np.uint16)
        return save_plane(pixels, folder / f"{case}.png")
    rounded = np.rint(probability / PROBABILITY_STEP) * np.float32(PROBABILITY_STEP)
    return save_volume(rounded.astype(np.float32), source, folder / f"{case}.nii.gz")
