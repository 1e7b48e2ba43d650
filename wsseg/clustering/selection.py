"""Which slices and pixels are looked at, and by which process."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.statistics import BUCKETS
from wsseg.utils.sampling import evenly_spaced

LONGEST_RUN = 128
"""Slices of a case that are in memory and smoothed together; longer cases are cut."""


def choose_slices(
    count: int, most: int, seed: int, tags: Tensor | None = None, level: Tensor | None = None
) -> list[int]:
    """Choose the slices that clusters are formed and scored from.

    Args:
        count: Number of slices.
        most: How many to choose; all if there are no more.
        seed: Chooses them.
        tags: [count, C], if they are known: slices of every combination of tags then take turns,
            so that none is left out because it is rare.
        level: [count] int64, if it is known: untagged slices then come from the levels of the
            tagged ones, which they are compared with, as far as these have some.

    Returns:
        Their positions in order.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if tags is not None and count > most:
        shown = tags.cpu()[order] > 0.5
        if level is not None:
            tagged = shown.any(dim=1)
            bucket = level.cpu()[order].long().remainder(BUCKETS)
            frequency = torch.bincount(bucket[tagged], minlength=BUCKETS)
            rest = bucket[~tagged]
            # The n-th of a level with frequency f comes at n / f: all levels fill up together.
            due = occurrence(rest) / frequency[rest]
            order[~tagged] = order[~tagged][due.argsort(stable=True)]
        kind = torch.unique(shown, dim=0, return_inverse=True)[1]
        order = order[occurrence(kind).argsort(stable=True)]
    return order[:most].sort().values.tolist()


def choose_untagged(
    count: int, most: int, seen: list[int], tags: Tensor | None = None
) -> list[int]:
    """Choose untagged slices, evenly spaced.

    Args:
        count: Number of slices.
        most: How many to choose.
        seen: Positions of slices not to choose.
        tags: [count, C]; if they are unknown, tagged slices may be chosen, too.

    Returns:
        Their positions in order.
    """
    left = torch.ones(count, dtype=torch.bool)
    left[seen] = False
    if tags is not None:
        left &= ~(tags > 0.5).any(dim=1).cpu()
    rows = left.nonzero()[:, 0]
    return rows[evenly_spaced(len(rows), most)].tolist()


def occurrence(kind: Tensor) -> Tensor:
    """Count for each element how many of its kind there are up to and with it, [n] int64."""
    order = kind.argsort(stable=True)
    counts = torch.bincount(kind)
    first = counts.cumsum(0) - counts
    found = torch.empty_like(kind)
    found[order] = torch.arange(1, len(kind) + 1) - first[kind[order]]
    return found


def sample_rows(row: Tensor, quota: int) -> Tensor:
    """Choose evenly spaced pixels of each slice: spread in space, and the same every time.

    Args:
        row: Slice of each pixel, [n] int64, ascending.
        quota: Most pixels from a slice.

    Returns:
        Positions in ``row``.
    """
    counts = torch.bincount(row)
    starts = counts.cumsum(0) - counts
    chosen = []
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        chosen.append(start + evenly_spaced(count, quota, row.device))
    return torch.cat(chosen) if chosen else row


def case_runs(rows: Tensor, case: Tensor, depth: Tensor) -> list[Tensor]:
    """Sort slices by case, and within a case by depth.

    Args:
        rows: Positions of slices, [n] int64.
        case: The case of every slice, [N] int64.
        depth: Where every slice lies along its case, [N].

    Returns:
        The positions of each case's slices in order; those of a longer case in several runs, since
        the slices of one run are in memory together.

    Example:
        >>> case, depth = torch.tensor([1, 0, 1]), torch.tensor([2.0, 0.0, 1.0])
        >>> [run.tolist() for run in case_runs(torch.arange(3), case, depth)]
        [[1], [2, 0]]
    """
    rows = rows[depth[rows].argsort(stable=True)]
    rows = rows[case[rows].argsort(stable=True)]
    counts = case[rows].unique_consecutive(return_counts=True)[1]
    whole = rows.split(counts.tolist()) if len(rows) else ()
    return [run for each in whole for run in each.split(LONGEST_RUN)]


def share(count: int, rank: int, size: int) -> range:
    """Return the positions that one of several processes visits; each belongs to exactly one.

    They are a block, so that files are read in order.

    Args:
        count: Number of positions.
        rank: This process.
        size: Number of processes.
    """
    return range(count * rank // size, count * (rank + 1) // size)


def share_runs(runs: Sequence[Tensor], rank: int, size: int) -> list[Tensor]:
    """Return the runs that one of several processes maps, a block of about as many slices each.

    Args:
        runs: Positions of the slices of each run.
        rank: This process.
        size: Number of processes.
    """
    lengths = torch.tensor([len(run) for run in runs], dtype=torch.int64)
    twice_the_middle = 2 * lengths.cumsum(0) - lengths
    owner = twice_the_middle * size // (2 * lengths.sum()).clamp_min(1)
    return [run for run, each in zip(runs, owner.tolist(), strict=True) if each == rank]
