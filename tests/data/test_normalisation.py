"""Anatomy is found, and intensities compare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes

from wsseg.data.normalisation import CLIP_PERCENTILES, fill_holes, find_scale, scorer


def make_planes() -> np.ndarray:
    return np.random.default_rng(0).uniform(50, 90, (3, 8, 8)).astype(np.float32)


def zscores(planes: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    return scorer(find_scale(planes.ravel().copy()), planes.dtype, dtype)(planes)


@given(arrays(bool, (3, 6, 7)))
def test_holes_are_filled_in_every_plane(planes: np.ndarray) -> None:
    expected = np.stack([binary_fill_holes(plane) for plane in planes])
    np.testing.assert_array_equal(fill_holes(planes.copy()), expected)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 1e4), offset=st.floats(-100, 100))
def test_scale_and_offset_do_not_matter(gain: float, offset: float) -> None:
    planes = make_planes()
    one = zscores(planes)
    other = zscores(planes * np.float32(gain) + np.float32(offset * gain))
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert abs(one.mean()) < 1e-4
    assert abs(one.std() - 1) < 1e-4


def test_diffusivities_in_units_of_si() -> None:
    planes = make_planes()
    np.testing.assert_allclose(zscores(planes * np.float32(1e-11)), zscores(planes), atol=1e-3)


def test_outliers_do_not_set_the_scale() -> None:
    planes = np.random.default_rng(0).normal(100, 10, (4, 64, 64)).astype(np.float32)
    plain = zscores(planes)
    planes[0, :2, 0] = 1e6
    np.testing.assert_allclose(zscores(planes)[1:], plain[1:], atol=0.1)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_percentiles_are_of_the_whole_volume(kind: type) -> None:
    assert find_scale(np.arange(1000).astype(kind), sample=100).high > 950


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whole_numbers_are_scored_as_if_they_were_not(
    kind: type, dtype: type, data: st.DataObject
) -> None:
    seed, size = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 70_000))
    limits = np.iinfo(kind)
    spread = data.draw(st.integers(1, int(limits.max)))
    planes = np.random.default_rng(seed).integers(limits.min, spread, size, kind, endpoint=True)
    one, other = find_scale(planes), find_scale(planes.astype(np.float32))
    assert one[:2] == tuple(np.percentile(planes.astype(np.float32), CLIP_PERCENTILES))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-9)
    scores = [zscores(values, dtype) for values in (planes, planes.astype(np.float32))]
    assert scores[0].dtype == dtype
    np.testing.assert_array_equal(*scores)


def test_an_even_volume_has_no_scores() -> None:
    assert not zscores(np.full((2, 3, 4), 7, np.int16)).any()
