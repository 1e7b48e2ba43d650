"""Volumes of predictions as NIfTI files that lie exactly on their source."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from wsseg.data.readers import Header
from wsseg.utils.files import replacing


def save_volume(volume: NDArray[Any], source: Header, path: Path) -> Path:
    """Write labels or probabilities on the grid of a source image, whole or not at all.

    Of a NIfTI file the orientation, both affines with their codes and the units are kept; only
    what describes the intensities (data type, scaling, display range) is made new.

    Args:
        volume: [X, Y, Z] on the voxels of the source.
        source: Header of the image that was segmented.
        path: File to write, ending in ``.nii.gz``.

    Returns:
        The path.
    """
    import nibabel as nib  # which imports pydicom: half a second that help can do without

    image = nib.Nifti1Image(volume, source.affine)
    image.header.set_xyzt_units(source.unit if source.unit == "mm" else "unknown")
    if source.nifti is not None:
        header = deepcopy(source.nifti)
        header.set_data_dtype(volume.dtype)
        header["cal_min"] = header["cal_max"] = 0
        header.set_intent("none")
        second = header.sizeof_hdr == nib.Nifti2Header.sizeof_hdr
        image = (nib.Nifti2Image if second else nib.Nifti1Image)(volume, None, header)  # type: ignore[no-untyped-call]
    with replacing(path) as part:
        nib.save(image, part)
    return path
