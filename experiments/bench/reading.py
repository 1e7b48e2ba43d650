"""Reading a file and no more; processes that only read import no torch, as `synthetic.py` would."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from wsseg.data.readers import read_voxels


def read(path: Path) -> None:
    """Read a file to its end where it is wanted: no other process is sent what it holds.

    Args:
        path: A NIfTI file.
    """
    read_voxels(path, "any")


def read_plainly(path: Path) -> None:
    """Read a file as nibabel does, which checks no CRC.

    Args:
        path: A NIfTI file.
    """
    np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
