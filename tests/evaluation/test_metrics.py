"""Measures against a short independent reference, and their conventions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, distance_transform_edt

from wsseg.evaluation.metrics import Volume, diagonal, score

SPACING = (3.0, 1.0, 1.5)


def reference(p: Volume, t: Volume, spacing: tuple[float, ...]) -> tuple[float, ...]:
    """The five lines that the measures must agree with."""
    (ep, et) = (m & ~binary_erosion(m) for m in (p, t))
    a = distance_transform_edt(~et, sampling=spacing)[ep]
    b = distance_transform_edt(~ep, sampling=spacing)[et]
    hit, hd95 = (p & t).sum(), max(np.percentile(a, 95), np.percentile(b, 95))
    return 2 * hit / (p.sum() + t.sum()), hd95, np.r_[a, b].mean(), hit / t.sum(), hit / p.sum()


def ball(centre: tuple[int, int, int], radius: float) -> Volume:
    """A ball on a grid that it may leave."""
    grid = np.indices((12, 20, 24))
    inside: Volume = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return inside


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        (ball((6, 9, 11), 5), ball((5, 10, 12), 4)),
        (ball((0, 0, 0), 6), ball((11, 19, 23), 3)),
        (ball((6, 9, 11), 4), ball((6, 9, 11), 4)),
    ],
)
def test_agrees_with_reference(prediction: Volume, truth: Volume) -> None:
    assert score(prediction, truth, SPACING) == pytest.approx(
        reference(prediction, truth, SPACING), rel=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_agrees_with_reference_on_noise(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = (rng.random((2, 4, 5, 6)) < density)[:]
    prediction[0, 0, 0] = truth[3, 4, 5] = True
    got = score(prediction, truth, SPACING)
    assert got == pytest.approx(reference(prediction, truth, SPACING), rel=1e-4, abs=1e-6)
    assert max(got.hd95, got.assd) <= diagonal(truth.shape, SPACING)


def test_both_empty_is_perfect() -> None:
    nothing = np.zeros((3, 4, 5), bool)
    assert score(nothing, nothing, SPACING) == (1, 0, 0, 1, 1)


def test_one_empty_costs_the_diagonal() -> None:
    nothing, something = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    far = float(np.linalg.norm((2 * 3.0, 3 * 1.0, 4 * 1.5)))
    expected = pytest.approx((0, far, far, 0, 0))
    assert score(nothing, something, SPACING) == expected
    assert score(something, nothing, SPACING) == expected


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="prediction is"):
        score(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), SPACING)
