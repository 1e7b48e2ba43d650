"""Mean, median and interval over cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsseg.evaluation.results import summarise


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_interval_lies_within_the_values(values: list[float]) -> None:
    got = summarise(values)
    low, high = got.ci95
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert got == summarise(values)


@pytest.mark.parametrize("count", [2, 7, 60])
def test_interval_is_that_of_scipy(count: int) -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(count).random(count)
    draw = {"n_resamples": 2000, "method": "percentile", "rng": np.random.default_rng(4)}
    expected = bootstrap((values,), np.mean, **draw).confidence_interval
    assert summarise(list(values), seed=4).ci95 == pytest.approx(tuple(expected), abs=1e-12)


def test_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    got = summarise(list(values), seed=3)
    assert np.subtract(*got.ci95[::-1]) == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_refuses_no_case() -> None:
    with pytest.raises(ValueError, match="no case"):
        summarise([])
