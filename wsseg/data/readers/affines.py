"""Which sizes and places of voxels can be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Millimetres. Electron microscopes resolve nanometres; slices of no thickness are given 999 mm by
# some tools. What lies beyond is a mistake, such as millimetres declared as metres.
SMALLEST_VOXEL, LARGEST_VOXEL = 1e-6, 1000.0
LEAST_VOLUME = 1e-6  # of a voxel, as a share of that of a box with its edges: less is a flat one
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM and ITK count to the left and to posterior


def affine_of(
    columns: Sequence[NDArray[np.float64]] | NDArray[np.float64], origin: Sequence[float]
) -> NDArray[np.float64]:
    """Return the affine [4, 4] from voxels to RAS+ millimetres.

    Args:
        columns: [3, 3], of each axis of the array the step to the next voxel in LPS+ millimetres.
        origin: [3], where the first voxel is.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.transpose(columns), origin
    return LPS_TO_RAS @ affine


def problem_of_affine(affine: NDArray[np.float64]) -> str:
    """Say what is wrong with an affine, and what to do; nothing if all is well.

    Args:
        affine: [4, 4], from voxels to millimetres.

    Example:
        >>> problem_of_affine(np.diag([1.0, 1.0, 2500.0, 1.0]))
        'has voxels of 1 x 1 x 2500 mm (`affine`); correct the sizes or their unit in its header'
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if problem := problem_of_sizes(edges, "affine"):
        return problem
    volume = abs(np.linalg.det(affine[:3, :3]))
    if not (np.isfinite(affine).all() and volume >= LEAST_VOLUME * edges.prod()):
        return "has no usable affine; correct its header"
    return ""


def problem_of_sizes(sizes: NDArray[Any], field: str) -> str:
    """Say what is wrong with the sizes of voxels, and what to do; nothing if all is well.

    Args:
        sizes: In millimetres.
        field: Where they are said, for the message.
    """
    if ((sizes >= SMALLEST_VOXEL) & (sizes < LARGEST_VOXEL)).all():
        return ""
    length = " x ".join(f"{size:g}" for size in sizes)
    return f"has voxels of {length} mm (`{field}`); correct the sizes or their unit in its header"
