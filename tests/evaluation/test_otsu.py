"""Otsu's threshold."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.evaluation.otsu import otsu


@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-4, 4, width=16)))
def test_otsu_separates_at_least_as_well_as_any_other_threshold(values: np.ndarray) -> None:
    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        if not len(low) or not len(high):
            return 0.0
        return len(low) * len(high) * float(high.mean() - low.mean()) ** 2

    width = float(np.ptp(values)) / 4096  # bins move a value by at most half of their width
    best = max(between(value) for value in values)
    assert between(otsu(values, bins=4096)) >= best - 4 * len(values) ** 2 * width * np.ptp(values)


def test_otsu_splits_two_heaps_between_them() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(-2, 0.3, 900), rng.normal(3, 0.3, 100)
    assert low.max() <= otsu(np.concatenate([low, high]).astype(np.float32)) < high.min()
