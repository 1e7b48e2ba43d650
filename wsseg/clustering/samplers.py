"""Finds the slices that a loader can draw: its sampler may leave out held-out ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

DRAW_ALL = (SequentialSampler, RandomSampler, DistributedSampler)


def drawn_positions(loader: DataLoader[Any], count: int) -> Sequence[int]:
    """Return the positions in the data set of the items that a loader can draw, ascending.

    If the sampler is of an unknown kind, all positions are returned, with a warning.

    Args:
        loader: The loader.
        count: Number of items of its data set.

    Example:
        >>> loader = DataLoader(range(9), sampler=SubsetRandomSampler([4, 2, 7]))
        >>> drawn_positions(loader, count=9)
        [2, 4, 7]
    """
    sampler = _innermost(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(set(map(int, sampler.indices)))
    if isinstance(sampler, WeightedRandomSampler):
        return [n for n, weight in enumerate(sampler.weights.tolist()) if weight > 0]
    if isinstance(sampler, Sequence):
        batches = (item if isinstance(item, Sequence) else [item] for item in sampler)
        return sorted({int(position) for batch in batches for position in batch})
    if not isinstance(sampler, DRAW_ALL):
        warnings.warn(
            f"clusters are made from all {count} slices of the data set, since "
            f"{type(sampler).__name__} does not tell which of them it draws; if not all, give "
            "ClusterReSupervision(dataloader=...) a loader without them",
            stacklevel=2,
        )
    return range(count)


def _innermost(sampler: Any) -> Any:
    """Return the sampler inside a batch sampler, and inside Lightning's distributed wrapper."""
    while True:
        inner = getattr(getattr(sampler, "dataset", None), "_sampler", None)
        if isinstance(sampler, BatchSampler):
            inner = getattr(sampler, "sampler", None)
        if inner is None:
            return sampler
        sampler = inner
