"""Chooses slices and pixels, and divides them among processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.statistics import BUCKETS
from wsseg.utils.sampling import evenly_spaced

LONGEST_RUN = 128
"""Most slices that are held in memory and smoothed together; longer cases are cut into runs."""


def choose_slices(
    count: int, most: int, seed: int, tags: Tensor | None = None, level: Tensor | None = None
) -> list[int]:
    """Choose the slices that clusters are formed and scored from.

    Args:
        count: Number of slices.
        most: How many to choose at most.
        seed: Seed of the random choice.
        tags: [count, C], if known: as many slices as possible are then chosen of each combination
            of tags, also of rare ones, and none of which every tag is NaN.
        level: [count] int64, if known: untagged slices are then chosen from the levels of the
            tagged ones, with which they are compared.

    Returns:
        The positions of the chosen slices, ascending.

    Example:
        >>> tags = torch.tensor([[1.0]] * 2 + [[0.0]] * 98)
        >>> chosen = choose_slices(count=100, most=4, seed=0, tags=tags)
        >>> tags[chosen].sum()  # both tagged slices are among the four
        tensor(2.)
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if tags is not None and count > most:
        order = order[~tags.cpu()[order].isnan().all(dim=1)]
        has_tag = tags.cpu()[order] > 0.5
        if level is not None:
            tagged = has_tag.any(dim=1)
            levels = level.cpu()[order].long().remainder(BUCKETS)
            frequency = torch.bincount(levels[tagged], minlength=BUCKETS)
            untagged = levels[~tagged]
            # The n-th untagged slice of a level with f tagged slices gets rank n / f, so that the
            # first ones are spread over the levels as the tagged slices are.
            rank = occurrence(untagged) / frequency[untagged]
            order[~tagged] = order[~tagged][rank.argsort(stable=True)]
        kind = torch.unique(has_tag, dim=0, return_inverse=True)[1]
        order = order[occurrence(kind).argsort(stable=True)]
    return order[:most].sort().values.tolist()


def choose_untagged(
    count: int, most: int, excluded: list[int], tags: Tensor | None = None
) -> list[int]:
    """Choose untagged slices, evenly spaced.

    Args:
        count: Number of slices.
        most: How many to choose at most.
        excluded: Positions of slices not to choose.
        tags: [count, C], NaN where unknown; without it, tagged slices may be chosen, too.

    Returns:
        The positions of the chosen slices, ascending.
    """
    eligible = torch.ones(count, dtype=torch.bool)
    eligible[excluded] = False
    if tags is not None:
        eligible &= (tags <= 0.5).all(dim=1).cpu()
    rows = eligible.nonzero()[:, 0]
    return rows[evenly_spaced(len(rows), most)].tolist()


def occurrence(kind: Tensor) -> Tensor:
    """Number the elements of each kind from 1 in the order in which they come, [n] int64.

    Example:
        >>> occurrence(torch.tensor([5, 7, 5, 5]))
        tensor([1, 1, 2, 3])
    """
    order = kind.argsort(stable=True)
    counts = torch.bincount(kind)
    first = counts.cumsum(0) - counts
    number = torch.empty_like(kind)
    number[order] = torch.arange(1, len(kind) + 1) - first[kind[order]]
    return number


def sample_rows(row: Tensor, quota: int) -> Tensor:
    """Choose evenly spaced pixels of each slice, without randomness.

    Args:
        row: Slice of each pixel, [n] int64, ascending.
        quota: Most pixels of a slice.

    Returns:
        Positions in ``row``, ascending.
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
        depth: Position of every slice along its case, [N].

    Returns:
        Runs: the positions of each case's slices in order, those of a long case in several runs of
        at most ``LONGEST_RUN``.

    Example:
        >>> case, depth = torch.tensor([1, 0, 1]), torch.tensor([2.0, 0.0, 1.0])
        >>> [run.tolist() for run in case_runs(torch.arange(3), case, depth)]
        [[1], [2, 0]]
    """
    rows = rows[depth[rows].argsort(stable=True)]
    rows = rows[case[rows].argsort(stable=True)]
    counts = case[rows].unique_consecutive(return_counts=True)[1]
    whole = rows.split(counts.tolist()) if len(rows) else ()
    return [run for of_case in whole for run in of_case.split(LONGEST_RUN)]


def process_positions(count: int, rank: int, size: int) -> range:
    """Return the positions that one of several processes handles; each belongs to exactly one.

    They are consecutive, so that files are read in order.

    Args:
        count: Number of positions.
        rank: Number of this process.
        size: Number of processes.
    """
    return range(count * rank // size, count * (rank + 1) // size)


def process_runs(runs: Sequence[Tensor], rank: int, size: int) -> list[Tensor]:
    """Return the runs that one of several processes handles; all get about as many slices.

    Args:
        runs: Positions of the slices of each run.
        rank: Number of this process.
        size: Number of processes.
    """
    lengths = torch.tensor([len(run) for run in runs], dtype=torch.int64)
    twice_the_middle = 2 * lengths.cumsum(0) - lengths
    owner = twice_the_middle * size // (2 * lengths.sum()).clamp_min(1)
    return [run for run, process in zip(runs, owner.tolist(), strict=True) if process == rank]
