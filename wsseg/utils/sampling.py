"""A bounded number of places, spread over a range and the same at every call."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly_spaced(count: int, most: int, device: torch.device | None = None) -> Tensor:
    """Return at most so many of the numbers below ``count``, evenly spaced, [n] int64.

    Args:
        count: Numbers to choose from.
        most: How many to choose; all if there are no more.
        device: Where the result is wanted.

    Example:
        >>> evenly_spaced(10, 3).tolist()
        [1, 5, 8]
    """
    taken = min(most, count)
    return (2 * torch.arange(taken, device=device) + 1) * count // max(1, 2 * taken)
