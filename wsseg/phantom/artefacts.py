"""What the scanner adds: coil shading, blur, slice-to-slice gain, Rician noise, arbitrary units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.noise import Grid, Mask, Volume, smooth_noise

LARGEST_INTENSITY = 30000
"""Upper end of the int16 range that is used."""


def _shading(grid: Grid, rng: np.random.Generator) -> Volume:
    """Multiplicative bias field: a broad coil profile and a local hot spot."""
    broad = rng.uniform(0.02, 0.10) * smooth_noise(grid, 50.0, rng)
    local = rng.uniform(0.0, 0.06) * smooth_noise(grid, 26.0, rng)
    return np.asarray(np.exp(np.clip(broad + local, -0.4, 0.4)), dtype=np.float32)


def acquire(ideal: Volume, grid: Grid, brain: Mask, rng: np.random.Generator) -> NDArray[np.int16]:
    """Turn an ideal image into what a skull-stripped file holds.

    Args:
        ideal: Image [X, Y, Z], about 1 in white matter.
        grid: Its voxels.
        brain: Where there is brain.
        rng: Source of the artefacts.

    Returns:
        Image [X, Y, Z] in the scanner's arbitrary units; at least 1 in the brain, 0 elsewhere.
    """
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(ideal, rng.uniform(0.5, 1.1) / grid.spacing)
    slices = 1 + 0.008 * rng.standard_normal((1, 1, grid.shape[2]), dtype=np.float32)
    signal = blurred * _shading(grid, rng) * slices
    sigma = np.float32(rng.uniform(0.012, 0.04))
    real = signal + sigma * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(grid.shape, dtype=np.float32)
    gain = np.exp(rng.uniform(np.log(120), np.log(2500)))
    scaled = np.clip(np.rint(gain * np.hypot(real, imaginary)), 1, LARGEST_INTENSITY)
    return np.where(brain, scaled, 0).astype(np.int16)
