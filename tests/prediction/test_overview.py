"""The picture of a prediction: slices that show it, for any prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.prediction.overview import Shown, overview, shown_slices


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
@pytest.mark.parametrize("colours", [(), (3,)])
def test_overview_is_drawn(predicted: bool, classes: int, colours: tuple[int, ...]) -> None:
    valid = np.zeros((10, 32, 48), bool)
    valid[2:8, 4:28, 10:40] = True
    image = np.random.default_rng(0).random((*valid.shape, *colours)) * valid.reshape(
        *valid.shape, *(1 for _ in colours)
    )
    masks = np.zeros((10, classes, 32, 48), bool)
    masks[4:6, :, 10:20, 20:30] = predicted
    names = [f"class {number}" for number in range(classes)]
    shown = Shown(image, valid, masks, (0.0, 1.0))
    picture = overview(shown, heading="FLAIR", classes=names, title="case_0")
    assert picture.dtype == np.uint8
    assert picture.std() > 5


@pytest.mark.parametrize(("aspect", "high", "wide"), [(1.0, 280, 560), (4.0, 560, 280)])
def test_a_single_plane_is_large_and_has_its_proportions(
    aspect: float, high: int, wide: int
) -> None:
    white = np.full((1, 40, 80), 255, np.uint8)
    shown = Shown(white, white > 0, np.zeros((1, 1, 40, 80), bool), (0.0, 255.0), aspect)
    picture = overview(shown, heading="image", classes=["lesion"], title="ann")
    drawn = (picture == 245).all(axis=-1)
    assert np.count_nonzero(drawn.any(axis=1)) == high
    assert np.count_nonzero(drawn.any(axis=0)) == 2 * wide
