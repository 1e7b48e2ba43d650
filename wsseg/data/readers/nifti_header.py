"""Where the voxels of a NIfTI file lie and how large they are, as its header says."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers.affines import problem_of_affine, problem_of_sizes

# By NIfTI's code of the unit of length. Files that name none (0) mean millimetres.
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
XFORM_CODES = nib.nifti1.xform_codes.value_set("code")
UNIT_BITS = 7  # of `xyzt_units`; the others are those of the unit of time


def affine_in_mm(header: nib.Nifti1Header) -> NDArray[np.float64]:
    """Return the affine [4, 4] from voxels to RAS+ millimetres, whatever the header's unit is.

    Raises:
        KeyError: The unit is none of NIfTI's.

    Example:
        >>> header = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4) / 1000).header
        >>> header.set_xyzt_units("meter")
        >>> affine_in_mm(header).diagonal().round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    affine = np.array(header.get_best_affine(), np.float64)
    affine[:3] *= _mm_per_unit(header)
    return affine


def problem_of_header(header: nib.Nifti1Header) -> str:
    """Say what is wrong with the place or the size of the voxels, and what to do.

    Args:
        header: The header as it was read, without nibabel's repairs.

    Returns:
        The problem and the remedy; nothing if all is well.

    Example:
        >>> header = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).header
        >>> header["vox_offset"], header["pixdim"][3] = 352, 0
        >>> problem_of_header(header)
        'has voxels of 1 x 1 x 0 mm (`pixdim`); correct the sizes or their unit in its header'
    """
    least = (
        header.sizeof_hdr + 4 if header.is_single else 0
    )  # in pairs they have a file to themselves
    if not header["vox_offset"] >= least:
        return (
            f"says that voxels begin at byte {header['vox_offset']:g}, inside its header of "
            f"{least} bytes (`vox_offset`); write it anew with the tool that made it"
        )
    if min(header.get_data_shape(), default=0) < 1:
        return f"has the shape {header.get_data_shape()}, without any voxel; copy it again"
    if int(header["xyzt_units"]) & UNIT_BITS not in MM_PER_UNIT:
        return "has an unknown unit of length; correct `xyzt_units` in its header"
    for field in ("qform_code", "sform_code"):
        if int(header[field]) not in XFORM_CODES:  # nibabel would leave out what it describes
            return f"has the unknown `{field}` {header[field]}; correct its header"
    if problem := problem_of_sizes(header["pixdim"][1:4] * _mm_per_unit(header), "pixdim"):
        return problem
    try:
        affine = affine_in_mm(header)
    except ValueError as error:  # rounded quaternions that are longer than 1
        return f"has no usable position ({error}); correct the qform in its header"
    return problem_of_affine(affine)


def _mm_per_unit(header: nib.Nifti1Header) -> float:
    # Not get_xyzt_units, which also refuses units of time that nobody needs.
    return MM_PER_UNIT[int(header["xyzt_units"]) & UNIT_BITS]
