"""Copies are found, and other images are not taken for copies."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from wsseg.inspection.duplicates import nearly_equal, reduced


def texture(seed: int, shape: tuple[int, int] = (90, 120)) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    return np.asarray((128 + 600 * noise).clip(0, 255), np.uint8)


@given(seed=st.integers(0, 10**6), quality=st.integers(40, 95), gain=st.floats(0.5, 1))
@settings(max_examples=20, deadline=None)
def test_copies_that_were_saved_anew_are_found(seed: int, quality: int, gain: float) -> None:
    image, stream = texture(seed), io.BytesIO()
    Image.fromarray((gain * image).astype(np.uint8)).resize((100, 75)).save(
        stream, "JPEG", quality=quality
    )
    copy = np.asarray(Image.open(stream))
    looks = [reduced(each[None]) for each in (texture(seed + 1), image, copy)]
    assert nearly_equal(looks) == [(1, 2)]


@given(seed=st.integers(0, 10**6), turns=st.integers(0, 3), mirrored=st.booleans())
@settings(max_examples=20, deadline=None)
def test_copies_that_were_mirrored_or_turned_are_found(
    seed: int, turns: int, mirrored: bool
) -> None:
    copy = np.rot90(texture(seed), turns)
    copy = copy[:, ::-1] if mirrored else copy
    looks = [reduced(each[None]) for each in (copy, texture(seed + 1), texture(seed))]
    assert nearly_equal(looks) == [(0, 2)]


def test_images_that_are_dark_towards_one_side_are_not_copies() -> None:
    slope = np.linspace(0, 200, 120)[None]
    looks = [reduced((slope + 0.1 * texture(seed))[None]) for seed in range(5)]
    assert nearly_equal(looks) == []


def test_images_without_structure_are_not_compared() -> None:
    assert nearly_equal([np.zeros((1, 24, 24), np.float32)] * 3) == []


def test_volumes_are_compared_with_volumes_only() -> None:
    look = reduced(texture(0)[None])
    assert nearly_equal([np.repeat(look, 6, axis=0), look, np.repeat(look, 6, axis=0)]) == [(0, 2)]
