"""The picture of a prediction: slices that show it, for any prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.prediction.overview import overview, shown_slices


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 16), min_size=1, max_size=30), st.integers(1, 8))
def test_telling_slices_are_distinct_ascending_and_show_something(
    areas: list[int], count: int
) -> None:
    mask = np.arange(16).reshape(1, 4, 4) < np.array(areas).reshape(-1, 1, 1)
    chosen = shown_slices(mask, np.ones_like(mask), count)
    shown = sum(area > 0 for area in areas) or len(areas)
    assert len(chosen) == min(count, shown)
    assert chosen == sorted(set(chosen))
    if any(areas):
        assert all(areas[s] for s in chosen)


def test_telling_slices_share_the_area() -> None:
    areas = np.zeros(100, int)
    areas[20:80] = 4
    mask = np.arange(16).reshape(1, 4, 4) < areas.reshape(-1, 1, 1)
    assert shown_slices(mask, mask, 6) == [24, 34, 44, 54, 64, 74]


def test_no_anatomy_gives_the_middle_slice() -> None:
    nothing = np.zeros((9, 4, 4), bool)
    assert shown_slices(nothing, nothing, 3) == [4]


@pytest.mark.parametrize("predicted", [True, False])
@pytest.mark.parametrize("classes", [1, 3])
def test_overview_is_drawn(predicted: bool, classes: int) -> None:
    valid = np.zeros((10, 32, 48), bool)
    valid[2:8, 4:28, 10:40] = True
    image = np.random.default_rng(0).normal(size=valid.shape) * valid
    masks = np.zeros((10, classes, 32, 48), bool)
    masks[4:6, :, 10:20, 20:30] = predicted
    names = [f"class {number}" for number in range(classes)]
    picture = overview(image, valid, masks, modality="FLAIR", classes=names, title="case_0")
    assert picture.dtype == np.uint8
    assert picture.std() > 5
