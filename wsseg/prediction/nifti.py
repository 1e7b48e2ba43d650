"""Label volumes as NIfTI files that lie exactly on their source."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers import Header
from wsseg.data.readers.nifti import IMAGE_CLASSES
from wsseg.data.spec import containers
from wsseg.utils.files import replacing


def label_volume(
    masks: NDArray[np.bool_], classes: dict[str, tuple[int, ...]]
) -> NDArray[np.uint8]:
    """Turn one mask per class into one volume of labels.

    The label of a class is its number plus one, in the order of ``classes``. Classes may be nested
    (whole tumour, core, enhancing core): of nested ones the innermost wins, of others that
    overlap the later one.

    Args:
        masks: [C, X, Y, Z].
        classes: For each class the mask labels that make it.

    Returns:
        [X, Y, Z], 0 for background.

    Example:
        >>> whole, core = np.array([[[[True, True, False]]], [[[False, True, False]]]])
        >>> label_volume(np.stack([whole, core]), {"whole": (1, 2, 4), "core": (1, 4)}).tolist()
        [[[1, 2, 0]]]
    """
    volume = np.zeros(masks.shape[:0:-1], np.uint8).T  # laid out as it will be written
    outer = containers(classes)
    for number in sorted(range(len(outer)), key=lambda number: len(outer[number])):
        np.copyto(volume, number + 1, where=masks[number])
    return volume


def save_labels(volume: NDArray[np.uint8], source: Header, path: Path) -> Path:
    """Write labels on the grid of a source image, whole or not at all.

    Of a NIfTI file the orientation, both affines with their codes and the units are kept; only
    what describes the intensities (data type, scaling, display range) is made new.

    Args:
        volume: [X, Y, Z] on the voxels of the source.
        source: Header of the image that was segmented.
        path: File to write, ending in ``.nii.gz``.

    Returns:
        The path.
    """
    image = nib.Nifti1Image(volume, source.affine)
    image.header.set_xyzt_units(source.unit if source.unit == "mm" else "unknown")
    if source.nifti is not None:
        header = deepcopy(source.nifti)
        header.set_data_dtype(np.uint8)
        header["cal_min"] = header["cal_max"] = 0
        header.set_intent("none")
        image = IMAGE_CLASSES[header.sizeof_hdr](volume, None, header)  # type: ignore[no-untyped-call]
    with replacing(path) as part:
        nib.save(image, part)
    return path
