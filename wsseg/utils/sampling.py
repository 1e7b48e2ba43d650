"""Evenly spaced sampling, without randomness."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly_spaced(count: int, most: int, device: torch.device | None = None) -> Tensor:
    """Return evenly spaced integers from 0 to ``count - 1``, [n] int64.

    Args:
        count: How many integers there are to choose from.
        most: How many to choose at most.
        device: Device of the result.

    Example:
        >>> evenly_spaced(10, 3).tolist()
        [1, 5, 8]
    """
    chosen = min(most, count)
    return (2 * torch.arange(chosen, device=device) + 1) * count // max(1, 2 * chosen)
