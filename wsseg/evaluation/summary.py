"""What a number per case says about all cases: mean, median and a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 2000


class Summary(NamedTuple):
    """Mean and median over cases, with the 95 % interval of the mean."""

    mean: float
    median: float
    ci95: tuple[float, float]


def summarise(values: Sequence[float], seed: int = 0) -> Summary:
    """Summarise a measure over cases.

    Args:
        values: One number per case.
        seed: Of the bootstrap; the same values and seed always give the same interval.

    Returns:
        Mean, median, and the 2.5th and 97.5th percentile of the means of 2,000 samples of the
        cases, drawn with replacement. With very few cases such an interval is too narrow.

    Raises:
        ValueError: There is no case.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        raise ValueError("summarise: there is no case")
    draws = np.random.default_rng(seed).integers(len(data), size=(DRAWS, len(data)))
    low, high = np.percentile(data[draws].mean(axis=1), (2.5, 97.5))
    return Summary(float(data.mean()), float(np.median(data)), (float(low), float(high)))
