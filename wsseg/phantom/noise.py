"""The grid a patient lives on, and smooth random fields on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

FIELD_OF_VIEW = (192.0, 224.0, 184.0)
"""Size of the imaged box in mm (right, anterior, superior): it holds the atlas and some air."""

CENTRE = (0.0, -18.0, 8.0)
"""Centre of the box in atlas (MNI) coordinates, mm: about the middle of the atlas brain."""


@dataclass(frozen=True)
class Grid:
    """Voxels of one patient: isotropic, RAS+, centred on the atlas brain.

    Attributes:
        spacing: Voxel size in mm.

    Example:
        >>> Grid(2.0).shape
        (96, 112, 92)
    """

    spacing: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along right, anterior and superior."""
        x, y, z = (ceil(length / self.spacing) for length in FIELD_OF_VIEW)
        return x, y, z

    @property
    def axes(self) -> tuple[Volume, Volume, Volume]:
        """Voxel positions in mm, shaped to broadcast: [X, 1, 1], [1, Y, 1], [1, 1, Z]."""
        x, y, z = (
            (c + self.spacing * (np.arange(n) - (n - 1) / 2)).astype(np.float32)
            for c, n in zip(CENTRE, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel-to-world matrix [4, 4] in mm."""
        affine = np.diag([self.spacing, self.spacing, self.spacing, 1.0])
        affine[:3, 3] = [float(axis.min()) for axis in self.axes]
        return affine


@lru_cache(maxsize=256)
def _weights(points: int, spacing: float, length: float, scale: float) -> NDArray[np.float64]:
    """Gaussian weights [points, nodes] from nodes `scale` mm apart; rows have unit energy."""
    nodes = np.arange(-3 * scale, length + 3 * scale, scale) - length / 2
    positions = spacing * (np.arange(points) - (points - 1) / 2)
    weights = np.exp(-0.5 * ((positions[:, None] - nodes[None, :]) / scale) ** 2)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True))
    return np.asarray(weights)


def smooth_noise(grid: Grid, scale: float, rng: np.random.Generator) -> Volume:
    """Draw a Gaussian random field of zero mean and unit variance.

    The field is drawn on coarse nodes in mm, so it is quick and the same field (sampled more or
    less finely) whatever the voxel size.

    Args:
        grid: Where to evaluate it.
        scale: Smoothness in mm (standard deviation of the smoothing kernel).
        rng: Source of randomness.

    Returns:
        Field [X, Y, Z].
    """
    per_axis = [
        _weights(n, grid.spacing, length, scale)
        for n, length in zip(grid.shape, FIELD_OF_VIEW, strict=True)
    ]
    # In double precision, because sums in single precision differ with the number of BLAS threads.
    field = rng.standard_normal([w.shape[1] for w in per_axis])
    for weights in per_axis:  # each step consumes the first axis and appends the fine one
        field = np.tensordot(field, weights, axes=(0, 1))
    return np.ascontiguousarray(field, dtype=np.float32)


def soft_step(value: NDArray[np.floating], width: float) -> Volume:
    """Logistic step from 0 to 1 over about four `width`, 0.5 at zero.

    Example:
        >>> soft_step(np.array([-2.0, 0.0, 2.0]), 1.0).round(2)
        array([0.12, 0.5 , 0.88], dtype=float32)
    """
    return np.asarray(1 / (1 + np.exp(-np.clip(value / width, -30, 30))), dtype=np.float32)
