"""Anatomy is found, and intensities compare."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.data.normalisation import find_valid, zscore


def make_images() -> np.ndarray:
    images = np.zeros((3, 2, 16, 16), np.float32)
    images[:, 0, 4:12, 4:12] = np.random.default_rng(0).uniform(50, 90, (3, 8, 8))
    images[:, 1, 4:12, 2:12] = np.random.default_rng(1).uniform(5, 6, (3, 8, 10))
    return images


def test_any_modality_counts_and_holes_are_filled() -> None:
    images = make_images()
    images[:, :, 7, 7] = 0
    valid = find_valid(images)
    assert valid[:, 4:12, 2:12].all()
    assert valid.sum() == 3 * 8 * 10


def test_empty_slices_have_no_anatomy() -> None:
    images = make_images()
    images[1] = 0
    assert not find_valid(images)[1].any()


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 1e4), offset=st.floats(-100, 100))
def test_scale_and_offset_do_not_matter(gain: float, offset: float) -> None:
    images = make_images()
    valid = find_valid(images[:, :1])
    one = zscore(images[:, :1], valid)
    other = zscore((images[:, :1] * np.float32(gain) + np.float32(offset * gain)), valid)
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert not one[:, 0][~valid].any()
    assert abs(one[:, 0][valid].mean()) < 1e-4
    assert abs(one[:, 0][valid].std() - 1) < 1e-4


def test_outliers_do_not_set_the_scale() -> None:
    images = np.random.default_rng(0).normal(100, 10, (4, 1, 64, 64)).astype(np.float32)
    valid = np.ones((4, 64, 64), bool)
    plain = zscore(images, valid)
    images[0, 0, :2, 0] = 1e6
    np.testing.assert_allclose(zscore(images, valid)[1:], plain[1:], atol=0.1)
