"""Smoothing against SciPy."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from wsseg.utils.smoothing import blur, blur_across


@given(seed=st.integers(0, 1000), sigma=st.floats(0.3, 3.0))
def test_blur_is_the_weighted_mean_of_known_pixels(seed: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, 9, 8, generator=generator)
    known = torch.rand(2, 1, 9, 8, generator=generator) > 0.3
    found = blur(maps, known, sigma).numpy()
    widths, radius = (0, 0, sigma, sigma), max(1, math.ceil(3 * sigma))

    def theirs(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values.astype(float), widths, mode="constant", radius=radius)

    inside = known.numpy()
    expected = theirs(maps.numpy() * inside) / np.maximum(theirs(inside), 1e-12)
    np.testing.assert_allclose(found, expected * inside, atol=1e-5)
    assert torch.equal(blur(maps, known, 0.0), maps * known)


def test_maps_of_half_precision_are_smoothed_in_full_precision() -> None:
    maps, known = torch.rand(1, 4, 48, 32), torch.ones(1, 1, 48, 32, dtype=torch.bool)
    low = maps.bfloat16()
    assert torch.equal(blur(low, known, 4.0), blur(low.float(), known, 4.0).bfloat16())


def test_half_precision_training_smooths_in_full_precision() -> None:
    maps, known = torch.rand(4, 2, 9, 8), torch.ones(4, 1, 9, 8, dtype=torch.bool)
    depth = torch.arange(4.0)
    expected = blur(maps, known, 2.0), blur_across(maps, known, depth, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blur(maps, known, 2.0), expected[0])
        assert torch.equal(blur_across(maps, known, depth, 2.0), expected[1])


@given(seed=st.integers(0, 1000), sigma=st.floats(0.3, 3.0), step=st.floats(0.2, 2.0))
def test_blur_across_is_the_weighted_mean_of_known_pixels(
    seed: int, sigma: float, step: float
) -> None:
    reach = 3 * sigma / step  # in slices; where it ends exactly at one, rounding decides
    assume(abs(reach - round(reach)) > 1e-3)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(15, 2, 3, 2, generator=generator)
    known = torch.rand(15, 1, 3, 2, generator=generator) > 0.3
    found = blur_across(maps, known, torch.arange(15) * step, sigma).numpy()

    def theirs(values: np.ndarray) -> np.ndarray:
        widths = {"sigma": sigma / step, "radius": int(reach)}
        return gaussian_filter1d(values.astype(float), axis=0, mode="constant", **widths)

    inside = known.numpy()
    mean = theirs(maps.numpy() * inside) / np.maximum(theirs(inside), 1e-12)
    np.testing.assert_allclose(found, np.where(inside, mean, maps.numpy()), atol=1e-4)


def test_unevenly_spaced_slices_count_by_their_distance() -> None:
    maps = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1)
    known = torch.ones(3, 1, 1, 1, dtype=torch.bool)
    found = blur_across(maps, known, torch.tensor([0.0, 1.0, 9.0]), 1.0).flatten()
    near = math.exp(-0.5)
    torch.testing.assert_close(found, torch.tensor([1 / (1 + near), near / (1 + near), 0.0]))
