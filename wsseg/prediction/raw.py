"""Raw volumes as the slices a checkpoint was trained on, and the way back to their voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.spec import DataSpec


class RawFiles(NamedTuple):
    """Where the images of a case are.

    Attributes:
        id: Name of the case.
        paths: The file of each modality, in channel order.
    """

    id: str
    paths: tuple[Path, ...]


class RawCase(NamedTuple):
    """A case as slices.

    Attributes:
        id: Name of the case.
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.
        source: The image on whose voxels the mask belongs.
        to_source: Turns [S, C, H, W] of the slices into [C, X, Y, Z] of the source.
    """

    id: str
    image: Tensor
    valid: Tensor
    source: nib.Nifti1Image
    to_source: Callable[[Tensor], NDArray[np.float32]]


def find_cases(folder: Path, layout: str | None, spec: DataSpec) -> list[RawFiles]:
    """Find the cases."""
    raise NotImplementedError


def read_case(files: RawFiles, spec: DataSpec) -> RawCase:
    """Read a case."""
    raise NotImplementedError
