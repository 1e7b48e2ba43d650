"""Pictures: the right pixels get the right colours, at any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.visualisation import panels
from wsseg.visualisation.colours import IRRELEVANT, RELEVANT, TRUTH, heat_colours


@pytest.fixture
def disc() -> np.ndarray:
    rows, columns = np.mgrid[:48, :64]
    return np.hypot(rows - 24, columns - 32) < 12


def tint(picture: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """How much a picture differs from its ground, per pixel."""
    return np.abs(picture.astype(int) - ground.astype(int)).sum(axis=-1)


def test_grey_keeps_proportions_and_darkens_the_outside(disc: np.ndarray) -> None:
    image = np.random.default_rng(0).normal(size=disc.shape) * disc
    picture = panels.grey(image, disc, height=96)
    assert picture.shape == (96, 128, 3)
    assert picture.dtype == np.uint8
    assert picture[0, 0].max() < 30
    assert picture[48, 64 - 16 : 64 + 16].mean() > 60


@pytest.mark.parametrize("aspect", [0.5, 1.0, 4.0])
def test_a_ball_looks_round_whatever_its_pixels(aspect: float) -> None:
    rows, columns = np.mgrid[:64, :64]
    ball = np.hypot((rows - 32) * aspect, columns - 32) < 12
    box = panels.valid_box(ball, aspect=aspect)
    picture = panels.grey(ball[box].astype(float), ball[box], height=100, aspect=aspect)
    bright = picture.max(axis=-1) > 100
    height, width = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert width == pytest.approx(height, rel=0.1)
    assert picture.shape[1] == pytest.approx(100, rel=0.15)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_grey_survives_empty_and_constant_images(value: float) -> None:
    picture = panels.grey(np.full((8, 8), value), np.full((8, 8), value == 3.0), height=16)
    assert picture.shape == (16, 16, 3)


def test_fill_and_outline_stay_on_the_mask(disc: np.ndarray) -> None:
    ground = np.full((96, 128, 3), 100, np.uint8)
    big = disc.repeat(2, 0).repeat(2, 1)
    filled = tint(panels.fill(ground, disc, TRUTH), ground)
    assert (filled[big] > 0).mean() > 0.98
    assert (filled[~big] > 40).mean() < 0.02
    line = tint(panels.outline(ground, disc, TRUTH), ground) > 60
    assert line.any()
    assert not line[48, 64]
    radius = np.hypot(*(np.argwhere(line) - (47.5, 63.5)).T)
    assert np.all(np.abs(radius - 24) < 4)
    angle = np.arctan2(*(np.argwhere(line) - (47.5, 63.5)).T)
    assert len(np.unique(np.round(angle, 1))) > 55, "the outline closes"


def test_an_empty_mask_draws_nothing() -> None:
    ground = np.full((32, 32, 3), 100, np.uint8)
    nothing = np.zeros((16, 16), bool)
    for picture in (
        panels.overlay(ground, nothing, TRUTH),
        panels.heat(ground, nothing),
        panels.targets(ground, np.full((16, 16), -1.0)),
        panels.class_overlays(ground, np.stack([nothing, nothing])),
    ):
        np.testing.assert_array_equal(picture, ground)


def test_targets_tell_relevant_irrelevant_and_ignored_apart() -> None:
    ground = np.full((30, 90, 3), 128, np.uint8)
    values = np.repeat(np.array([[1.0, 0.0, -1.0]]), 10, axis=1).repeat(10, axis=0)
    picture = panels.targets(ground, values).astype(float)
    relevant, irrelevant, ignored = (picture[15, x] for x in (15, 45, 75))

    def nearer(colour: np.ndarray, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        return bool(np.linalg.norm(colour - one) < np.linalg.norm(colour - np.array(other)))

    assert nearer(relevant, RELEVANT, IRRELEVANT)
    assert nearer(irrelevant, IRRELEVANT, RELEVANT)
    np.testing.assert_array_equal(ignored, 128)


def test_heat_colours_rise_in_brightness_and_clip() -> None:
    brightness = heat_colours(np.linspace(0, 1, 64)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) > 0).all()
    np.testing.assert_array_equal(
        heat_colours(np.array([-1.0, 2.0, np.nan])), heat_colours(np.array([0.0, 1.0, 0.0]))
    )


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_box_holds_the_anatomy(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    top, bottom = sorted(data.draw(st.integers(0, height - 1)) for _ in range(2))
    left, right = sorted(data.draw(st.integers(0, width - 1)) for _ in range(2))
    valid = np.zeros((height, width), bool)
    valid[top : bottom + 1, left : right + 1] = True
    aspect = data.draw(st.sampled_from([0.2, 1.0, 1.7, 5.0]))
    box = panels.valid_box(valid, margin=data.draw(st.integers(0, 5)), aspect=aspect)
    assert valid[box].sum() == valid.sum()
    assert all(0 <= side.start < side.stop <= n for side, n in zip(box, valid.shape, strict=True))


def test_box_is_square_where_there_is_room(disc: np.ndarray) -> None:
    cropped = disc[panels.valid_box(disc, margin=3)]
    assert cropped.shape == (29, 29)
    assert panels.valid_box(np.zeros((4, 5), bool)) == (slice(0, 4), slice(0, 5))
