"""Levels: which eighth of its case a slice lies in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Fine enough to tell the vertex from the skull base, coarse enough that each level of each patient
# holds some slices. Other numbers were not measured.
LEVELS_PER_CASE = 8


def levels(count: int) -> NDArray[np.int64]:
    """Return the level of each slice of a case, from 0 to ``LEVELS_PER_CASE`` - 1.

    Args:
        count: Number of its slices; a picture has one, of level 0.

    Example:
        >>> levels(12).tolist()
        [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7]
    """
    return LEVELS_PER_CASE * np.arange(count) // max(count, 1)
