"""How sure a network is of a mask, without a truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confidence_of(probability: NDArray[np.floating], mask: NDArray[np.bool_]) -> float | None:
    """Return the soft Dice of what the network says and the mask that was made of it.

    It is low where the network is unsure inside the mask, where it sees the class outside, and
    where refined borders are not those that it has drawn. It ranks cases and is not calibrated.

    Args:
        probability: Of the class at every pixel of a case, before borders are refined, any shape.
        mask: The finished mask, of the same shape.

    Returns:
        From 0 to 1; None if the mask is empty.

    Example:
        >>> confidence_of(np.array([1.0, 0.75, 0.25, 0.0]), np.array([True, True, False, False]))
        0.875
    """
    if not mask.any():
        return None
    total = probability.sum(dtype=np.float64) + np.count_nonzero(mask)
    return float(2 * probability[mask].sum(dtype=np.float64) / total)
