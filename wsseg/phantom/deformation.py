"""From the atlas to one patient's anatomy: head size, individual shape, mass effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.atlas import Atlas
from wsseg.phantom.noise import CENTRE, Grid, Mask, Volume, smooth_noise

WARPS = ((28.0, 3.5), (11.0, 1.4))
"""(smoothness, amplitude) in mm of the random displacement fields; smooth enough not to fold."""

VENTRICLE_CENTRE = (0.0, -18.0, 16.0)


@dataclass(frozen=True)
class Focus:
    """One tumour focus.

    Attributes:
        centre: Position [3] in mm.
        radius: Mean radius of the core in mm.
        push: Mass effect: share of the radius by which tissue moves, 0 to 0.6.
        stretch: Half-axes [3] relative to `radius`.
        reach: How far oedema extends through pure white matter, mm.
    """

    centre: NDArray[np.float64]
    radius: float
    push: float
    stretch: NDArray[np.float64]
    reach: float


@dataclass(frozen=True)
class Anatomy:
    """A patient's healthy tissues on the patient's grid, each [X, Y, Z].

    Attributes:
        grid: The voxels.
        brain: Where there is brain.
        grey: Fraction of grey matter.
        white: Fraction of white matter.
        fluid: Fraction of cerebrospinal fluid, ventricles included.
        ventricle: Fraction of ventricular fluid.
    """

    grid: Grid
    brain: Mask
    grey: Volume
    white: Volume
    fluid: Volume
    ventricle: Volume


@dataclass(frozen=True)
class HeadShape:
    """Linear map from patient to atlas and the enlargement of the ventricles.

    Attributes:
        matrix: Patient-to-atlas matrix [3, 3], about the centre of the field of view.
        atrophy: How much the ventricles are enlarged, 0 to 0.5.
    """

    matrix: NDArray[np.float64]
    atrophy: float

    def to_patient(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map an atlas position [3] in mm to the patient (the smooth warp left aside)."""
        centre = np.asarray(CENTRE)
        return np.asarray(centre + np.linalg.solve(self.matrix, position - centre))


def draw_head_shape(rng: np.random.Generator) -> HeadShape:
    """Draw head size, proportions, a small tilt and the width of the ventricles."""
    scale = 1 + 0.03 * rng.standard_normal() + 0.02 * rng.standard_normal(3)
    skew = 0.03 * np.clip(rng.standard_normal((3, 3)), -2, 2)
    np.fill_diagonal(skew, 0)
    matrix = np.diag(1 / np.clip(scale, 0.9, 1.07)) @ (np.eye(3) + skew)
    return HeadShape(matrix, atrophy=float(rng.uniform(-0.1, 0.42)))


def _distance(grid: Grid, centre: Sequence[float] | NDArray[np.float64], width: float) -> Volume:
    """exp(-(d/width)^2) of the distance d from `centre`, all in mm."""
    squares = [(axis - c) ** 2 for axis, c in zip(grid.axes, centre, strict=True)]
    total = squares[0] + squares[1] + squares[2]
    return np.asarray(np.exp(-total / np.float32(width**2)), dtype=np.float32)


def _shape_map(grid: Grid, head: HeadShape, rng: np.random.Generator) -> Volume:
    """Atlas position in mm of every voxel, [3, X, Y, Z], before any mass effect."""
    x, y, z = (axis - np.float32(c) for axis, c in zip(grid.axes, CENTRE, strict=True))
    pull = head.atrophy * _distance(grid, VENTRICLE_CENTRE, 32.0)
    rows = []
    for row, centre, middle in zip(head.matrix, CENTRE, VENTRICLE_CENTRE, strict=True):
        a, b, c = (np.float32(value) for value in row)
        position = a * x + b * y + c * z + np.float32(centre)
        for scale, amplitude in WARPS:
            position = position + np.float32(amplitude) * smooth_noise(grid, scale, rng)
        rows.append(position - pull * (position - np.float32(middle)))
    return np.stack(rows).astype(np.float32)


def _push(positions: Volume, grid: Grid, head: HeadShape, masses: Sequence[Focus]) -> Volume:
    """Pull-back of the mass effect: near a mass, tissue comes from closer to its centre."""
    moved = positions
    for mass in masses:
        weight = mass.push * _distance(grid, mass.centre, 2.3 * mass.radius)
        offsets = [axis - np.float32(c) for axis, c in zip(grid.axes, mass.centre, strict=True)]
        shift = [
            sum(np.float32(row[j]) * offsets[j] for j in range(3)) * weight for row in head.matrix
        ]
        moved = moved - np.stack(shift).astype(np.float32)
    return moved


def _sample(volume: Volume, voxels: Volume) -> Volume:
    """Linear interpolation at voxel positions [3, N], 0 outside."""
    from scipy import ndimage

    return np.asarray(ndimage.map_coordinates(volume, voxels, order=1), dtype=np.float32)


def deform(
    atlas: Atlas,
    grid: Grid,
    head: HeadShape,
    masses: Sequence[Focus],
    rng: np.random.Generator,
) -> Anatomy:
    """Make a patient's tissues.

    The skull does not give way: the outline of the brain ignores the masses, so tissue between
    a mass and the surface is squeezed and its sulci close, as in patients.

    Args:
        atlas: Tissue fractions of the average brain.
        grid: The patient's voxels.
        head: The patient's head shape.
        masses: What pushes tissue aside.
        rng: Source of the individual smooth deformation.

    Returns:
        The patient's tissue fractions.
    """
    positions = _shape_map(grid, head, rng)
    origin = atlas.origin.astype(np.float32)[:, None]
    inside = _sample(atlas.brain, positions.reshape(3, -1) - origin).reshape(grid.shape) > 0.5
    moved = _push(positions, grid, head, masses)[:, inside] - origin
    fractions = np.stack([_sample(tissue, moved) for tissue in atlas.tissues])
    missing = np.clip(1 - fractions[:3].sum(0), 0, 1)
    fractions[2] += missing
    volumes = np.zeros((4, *grid.shape), dtype=np.float32)
    volumes[:, inside] = fractions
    return Anatomy(grid, inside, *volumes)
