"""Benign findings that a radiologist recognises and a simple threshold takes for tumour.

They occur in slices with and without tumour, and in most patients: without them the brightest
pixels of FLAIR would be the tumour and nothing would be left to learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsseg.phantom.deformation import Anatomy
from wsseg.phantom.noise import Grid, Volume, smooth_noise, soft_step


@dataclass(frozen=True)
class Findings:
    """Soft weights [X, Y, Z] in [0, 1].

    Attributes:
        gliosis: White-matter lesions, caps of the ventricles, borders of old infarcts.
        cavity: Old infarcts, filled with fluid.
        vessel: Vessels, meninges and choroid plexus, which take up contrast agent.
        remnant: Remnants of dura and fat that skull stripping left at the surface.
    """

    gliosis: Volume
    cavity: Volume
    vessel: Volume
    remnant: Volume


def _blob(
    grid: Grid, rng: np.random.Generator, centre: Volume, radius: float
) -> tuple[tuple[slice, ...], Volume]:
    """A soft ellipsoid: the box [x, y, z] that holds it and its depth below the surface in mm."""
    stretch = np.exp(0.25 * rng.standard_normal(3))
    box, terms = [], []
    for axis, middle, s in zip(grid.axes, centre, stretch, strict=True):
        offset = (axis.ravel() - middle) / s
        inside = np.flatnonzero(np.abs(offset) < radius + 5)
        box.append(slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0))
        terms.append(offset[box[-1]] ** 2)
    squares = terms[0][:, None, None] + terms[1][None, :, None] + terms[2][None, None, :]
    return tuple(box), (radius - np.sqrt(squares)).astype(np.float32)


def _seats(anatomy: Anatomy, rng: np.random.Generator, count: int) -> Volume:
    """Positions [count, 3] in mm of random white-matter voxels."""
    grid = anatomy.grid
    tries = np.stack([rng.choice(axis.ravel(), size=80 * count + 80) for axis in grid.axes], 1)
    first = np.array([axis.min() for axis in grid.axes])
    x, y, z = np.rint((tries - first) / grid.spacing).astype(int).T
    return np.asarray(tries[anatomy.white[x, y, z] > 0.6][:count], dtype=np.float32)


def _white_matter_lesions(anatomy: Anatomy, rng: np.random.Generator, burden: float) -> Volume:
    """Scattered small lesions of the white matter, some confluent."""
    weight = np.zeros(anatomy.grid.shape, dtype=np.float32)
    for centre in _seats(anatomy, rng, int(rng.poisson(10 + 60 * burden))):
        radius = float(np.clip(rng.lognormal(0.95, 0.55), 1.2, 9.0))
        box, depth = _blob(anatomy.grid, rng, centre, radius)
        weight[box] = np.maximum(weight[box], rng.uniform(0.5, 1.0) * soft_step(depth, 0.5))
    return np.asarray(weight * np.clip(1.2 * anatomy.white, 0, 1), dtype=np.float32)


def _caps(anatomy: Anatomy, rng: np.random.Generator, burden: float) -> Volume:
    """Bright caps and bands around the ventricles."""
    from scipy import ndimage

    near = ndimage.gaussian_filter(anatomy.ventricle, (2 + 3 * burden) / anatomy.grid.spacing)
    patches = 0.5 + 0.5 * smooth_noise(anatomy.grid, 14.0, rng)
    edge = soft_step(near - 0.09 - 0.07 * (1 - burden) * (1 - patches), 0.02)
    return (0.4 + 0.6 * burden) * edge * np.clip(anatomy.white, 0, 1)


def _infarcts(anatomy: Anatomy, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """Fluid cavities [X, Y, Z] and their gliotic borders."""
    cavity = np.zeros(anatomy.grid.shape, dtype=np.float32)
    border = np.zeros_like(cavity)
    wobble = smooth_noise(anatomy.grid, 4.0, rng)
    for centre in _seats(anatomy, rng, int(rng.choice(4, p=[0.35, 0.35, 0.2, 0.1]))):
        radius, width = float(rng.uniform(2.5, 9.0)), float(rng.uniform(0.5, 3.0))
        box, depth = _blob(anatomy.grid, rng, centre, radius)
        depth = depth + 0.25 * radius * wobble[box]
        cavity[box] = np.maximum(cavity[box], soft_step(depth, 0.4))
        border[box] = np.maximum(border[box], soft_step(depth + width, 0.5))
    return cavity * anatomy.brain, border * anatomy.brain


def _vessels(anatomy: Anatomy, surface: Volume, rng: np.random.Generator) -> Volume:
    """Tubes (where two random fields vanish), choroid plexus, meninges and the midline sinus."""
    grid = anatomy.grid
    tubes = np.zeros(grid.shape, dtype=np.float32)
    for scale, width in ((9.0, 0.13), (5.0, 0.15)):
        square = smooth_noise(grid, scale, rng) ** 2 + smooth_noise(grid, scale, rng) ** 2
        tubes = np.maximum(tubes, np.exp(-square / np.float32(width**2)))
    tubes *= np.clip(0.12 + 1.5 * anatomy.fluid + 0.8 * surface, 0, 1)
    plexus = soft_step(smooth_noise(grid, 4.0, rng) - 0.7, 0.15) * anatomy.ventricle
    meninges = soft_step(smooth_noise(grid, 13.0, rng) - 0.6, 0.2) * surface
    x, y, z = grid.axes
    back = np.clip((-y - 20) / 40, 0, 1) + np.clip((z - 30) / 20, 0, 1)
    sinus = np.exp(-((x / 3.5) ** 2)) * np.clip(back, 0, 1) * surface
    parts = (tubes, 0.8 * plexus, 0.6 * meninges, sinus)
    return np.asarray(np.maximum.reduce(parts) * anatomy.brain, dtype=np.float32)


def draw_findings(anatomy: Anatomy, rng: np.random.Generator) -> Findings:
    """Draw a patient's benign findings.

    Args:
        anatomy: The patient's tissues.
        rng: Source of randomness.

    Returns:
        Soft weights of every kind of finding, 0 outside the brain.
    """
    from scipy import ndimage

    grid, burden = anatomy.grid, float(rng.beta(1.3, 1.5))
    inner = ndimage.gaussian_filter(anatomy.brain.astype(np.float32), 2.5 / grid.spacing)
    surface = np.clip(2.2 * (1 - inner) - 0.25, 0, 1) * anatomy.brain
    scattered = _white_matter_lesions(anatomy, rng, burden)
    caps = _caps(anatomy, rng, burden)
    cavity, border = _infarcts(anatomy, rng)
    gliosis = np.maximum(np.maximum(scattered, caps), 0.85 * border) * (1 - cavity)
    vessel = _vessels(anatomy, surface, rng)
    remnant = soft_step(smooth_noise(grid, 11.0, rng) - 1.3, 0.15) * surface
    return Findings(gliosis, cavity, vessel, remnant.astype(np.float32))
