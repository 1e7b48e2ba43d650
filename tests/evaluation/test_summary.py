"""Mean, median and interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsseg.evaluation.summary import summarise


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_interval_lies_within_the_values(values: list[float]) -> None:
    got = summarise(values)
    low, high = got.ci95
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert got == summarise(values)


def test_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    got = summarise(list(values), seed=3)
    assert np.subtract(*got.ci95[::-1]) == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_refuses_no_case() -> None:
    with pytest.raises(ValueError, match="no case"):
        summarise([])
