"""Which slices a loader draws at all: samplers often leave out those that are held out."""

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

WHOLE = (SequentialSampler, RandomSampler, DistributedSampler)


def drawn(loader: DataLoader[Any], count: int) -> Sequence[int]:
    """Return the positions of the items that a loader may ever draw, ascending.

    All of them, with a warning, if its sampler is of a kind that does not tell.

    Args:
        loader: The loader.
        count: Number of items of its data set.
    """
    sampler = _innermost(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(set(map(int, sampler.indices)))
    if isinstance(sampler, WeightedRandomSampler):
        return [n for n, weight in enumerate(sampler.weights.tolist()) if weight > 0]
    if isinstance(sampler, Sequence):
        lists = (each if isinstance(each, Sequence) else [each] for each in sampler)
        return sorted({int(position) for each in lists for position in each})
    if not isinstance(sampler, WHOLE):
        warnings.warn(
            f"clusters are made from all {count} slices of the data set, since "
            f"{type(sampler).__name__} does not tell which of them it draws; if not all, give "
            "ClusterReSupervision(dataloader=...) a loader without them",
            stacklevel=2,
        )
    return range(count)


def _innermost(sampler: Any) -> Any:
    """Return the sampler in a batch sampler, and in what Lightning makes of it for processes."""
    while True:
        inner = getattr(getattr(sampler, "dataset", None), "_sampler", None)
        if isinstance(sampler, BatchSampler):
            inner = getattr(sampler, "sampler", None)
        if inner is None:
            return sampler
        sampler = inner
