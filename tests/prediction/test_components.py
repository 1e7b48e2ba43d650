"""Specks of a case's masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wsseg.prediction.components import large_components, tidy

VOLUMES = arrays.arrays(bool, (3, 5, 6))


def bodies(*sizes: int) -> np.ndarray:
    """One row of pixels per size, each in a slice of its own with an empty one between."""
    mask = np.zeros((2 * len(sizes), 3, 20), bool)
    for number, size in enumerate(sizes):
        mask[2 * number, 1, :size] = True
    return mask


@pytest.mark.parametrize(("smallest", "left"), [(0.0, 26), (0.1, 25), (0.3, 20), (1.0, 20)])
def test_the_bound_is_a_share_of_the_largest(smallest: float, left: int) -> None:
    assert large_components(bodies(20, 5, 1), smallest).sum() == left


def test_corners_connect_also_across_slices() -> None:
    mask = np.zeros((2, 4, 20), bool)
    mask[0, 0, :15] = mask[1, 1, 15] = True
    assert np.array_equal(large_components(mask, 0.5), mask)


def test_what_lay_inside_a_dropped_component_goes_with_it() -> None:
    whole, core = bodies(20, 1), bodies(0, 1)
    kept = tidy(np.stack([whole, core], axis=1), 0.1, [[], [0]])
    assert kept[:, 0].sum() == 20
    assert not kept[:, 1].any()


@settings(deadline=None)
@given(VOLUMES, st.floats(0, 1))
def test_only_drops_and_keeps_the_largest(mask: np.ndarray, smallest: float) -> None:
    kept = large_components(mask, smallest)
    assert not (kept & ~mask).any()
    assert kept.any() == mask.any()
    assert np.array_equal(large_components(kept, smallest), kept)
    assert np.array_equal(large_components(mask[::-1, :, ::-1], smallest), kept[::-1, :, ::-1])
