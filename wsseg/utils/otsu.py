"""A threshold that divides values into two groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def otsu(values: NDArray[np.float32], bins: int = 256) -> float:
    """Return the threshold that puts most of the variance between its two sides.

    N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on
    Systems, Man, and Cybernetics 9(1), 1979.

    Args:
        values: Intensities, any shape.
        bins: Of the histogram between whose bins the threshold may lie.

    Example:
        >>> 1 < otsu(np.float32([0, 1, 0, 1, 8, 9])) < 8
        True
    """
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    above = counts.sum() - below
    difference = mass[:-1] / np.maximum(below, 1) - (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    return float(edges[1 + np.argmax(below * above * difference**2)])
