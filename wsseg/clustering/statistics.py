"""Statistics of clusters: sums over slices, which add up over batches and processes.

Every sum is a float64 multiple of ``UNIT``, so that additions are exact and the result does not
depend on the order of the slices or on how they are divided among processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

UNTAGGED, TAGGED = 0, 1  # slices without and with a class
BUCKETS = 64
"""Number of cases, and of levels, that are counted apart. Beyond it, several share a bucket, so the
size of the statistics is bounded."""

UNIT = 2.0**-20
"""All sums are multiples of this, so that they are exact in any order."""


@dataclass(frozen=True)
class ClusterStatistics:
    """Sums over slices for R clusterings of K clusters and C classes.

    The last axis, or the one before ``G``, is the tag: ``[..., UNTAGGED]`` sums over the slices
    without the class, ``[..., TAGGED]`` over those with it.

    Attributes:
        pixels: Valid pixels, by level, [R, K, C, 2, G].
        by_case: Valid pixels, by case, [R, K, C, 2, G].
        activation: Sum of the activation over these pixels, [R, K, C, 2].
        slices: Slices in which the cluster occurs, [R, K, C, 2].
        active_slices: Slices in which the mean activation of the cluster's pixels exceeds one half,
            [R, K, C, 2].
        area: Sum over slices of the share of valid pixels in the cluster, [R, K, C, 2].
        drop: Sum over slices of the share of the class's activation that is lost when the
            cluster's pixels are erased, [R, K, C, 2].
        spread: Sum over the cluster's pixels of its relative variance in their slice (the variance
            of the positions of its pixels, over that of all valid pixels), [R, K, C, 2].
        total: Number of slices, [C, 2].
        together: Slices that have both the class of the row and that of the column, [C, C].

    Example:
        >>> statistics = empty_statistics(clusterings=1, clusters=2, classes=1)
        >>> (statistics + statistics).pixels.shape  # of two sets of slices
        torch.Size([1, 2, 1, 2, 64])
    """

    pixels: Tensor
    by_case: Tensor
    activation: Tensor
    slices: Tensor
    active_slices: Tensor
    area: Tensor
    drop: Tensor
    spread: Tensor
    total: Tensor
    together: Tensor

    def __add__(self, other: ClusterStatistics) -> ClusterStatistics:
        """Return the statistics of both sets of slices."""
        return ClusterStatistics(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def apply(self, change: Callable[[Tensor], Tensor]) -> ClusterStatistics:
        """Return the statistics with a function applied to every tensor."""
        return ClusterStatistics(**{f.name: change(getattr(self, f.name)) for f in fields(self)})

    @property
    def support(self) -> Tensor:
        """Effective number of cases that a cluster's pixels come from, [R, K, C, 2].

        With n_i pixels from case i it is (sum n_i)^2 / sum n_i^2 (Kish, Survey Sampling, 1965): n
        if they come evenly from n cases, near 1 if most come from one, 0 without pixels.
        """
        squares = self.by_case.square().sum(dim=-1)
        return self.by_case.sum(dim=-1).square() / squares.clamp_min(1)


def empty_statistics(clusterings: int, clusters: int, classes: int) -> ClusterStatistics:
    """Return the statistics of no slices.

    Args:
        clusterings: R.
        clusters: K.
        classes: C.
    """
    shape = (clusterings, clusters, classes, 2)

    def zeros(*size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64)

    return ClusterStatistics(
        pixels=zeros(*shape, BUCKETS),
        by_case=zeros(*shape, BUCKETS),
        activation=zeros(*shape),
        slices=zeros(*shape),
        active_slices=zeros(*shape),
        area=zeros(*shape),
        drop=zeros(*shape),
        spread=zeros(*shape),
        total=zeros(classes, 2),
        together=zeros(classes, classes),
    )


def slice_statistics(
    labels: Tensor,
    activation: Tensor,
    row: Tensor,
    place: Tensor,
    tags: Tensor,
    case: Tensor,
    level: Tensor,
    clusters: int,
) -> ClusterStatistics:
    """Return the statistics of a batch of slices.

    Args:
        labels: Cluster of each valid pixel in each clustering, [n, R] int64.
        activation: Class activation of each valid pixel, [n, C] in [0, 1].
        row: Slice of each valid pixel, [n] int64 from 0 to B - 1.
        place: Row and column of each valid pixel in its slice, [n, 2].
        tags: [B, C], 0 or 1; where NaN, the slice counts neither with the class nor without it.
        case: Case of each slice, [B] int64.
        level: Level of each slice, [B] int64.
        clusters: K.

    Returns:
        The statistics, on the CPU.

    Example:
        >>> statistics = slice_statistics(
        ...     labels=torch.tensor([[0], [0], [1], [0]]),  # four pixels in one clustering
        ...     activation=torch.tensor([[0.1], [0.1], [0.9], [0.1]]),
        ...     row=torch.tensor([0, 0, 0, 1]),  # three of the first slice, one of the second
        ...     place=torch.tensor([[0, 0], [0, 1], [1, 1], [0, 0]]),
        ...     tags=torch.tensor([[1.0], [0.0]]),
        ...     case=torch.tensor([0, 1]),
        ...     level=torch.tensor([0, 0]),
        ...     clusters=2,
        ... )
        >>> statistics.slices[0, 1, 0].tolist()  # cluster 1: in 0 slices without, in 1 with the tag
        [0.0, 1.0]
    """
    place = place.double()
    moments = torch.cat((place, place.square().sum(dim=1, keepdim=True)), dim=1)
    # Rounding makes sums exact in any order; on a GPU the order is not fixed.
    weights = torch.cat((round_to_unit(activation.double()), moments), dim=1)
    counts, sums = _tables(labels, weights, row, len(tags), clusters)
    sums, moments = sums.split((activation.shape[1], 3), dim=1)
    tags = tags.cpu()
    has_tag = torch.stack((tags <= 0.5, tags > 0.5), dim=2).double()  # [B, C, 2]
    occurs = (counts > 0).double()
    valid = counts[:, :1].sum(dim=-1, keepdim=True).clamp_min(1)
    active = sums[:, :, :1].sum(dim=-1, keepdim=True)
    votes = (sums > 0.5 * counts[:, None]).double()
    lost = torch.where(active > 0, sums / active.clamp_min(UNIT), 0.0)

    def by_bucket(number: Tensor) -> Tensor:
        bucket = F.one_hot(number.cpu().long().remainder(BUCKETS), BUCKETS).double()  # [B, G]
        return torch.einsum("brk,bcs,bg->rkcsg", counts, has_tag, bucket)

    def by_tag(table: Tensor) -> Tensor:
        return torch.einsum("brk,bcs->rkcs", table, has_tag)

    def by_tag_and_class(table: Tensor) -> Tensor:
        return torch.einsum("bcrk,bcs->rkcs", table, has_tag)

    return ClusterStatistics(
        pixels=by_bucket(level),
        by_case=by_bucket(case),
        activation=by_tag_and_class(sums),
        slices=by_tag(occurs),
        active_slices=by_tag_and_class(votes),
        area=by_tag(round_to_unit(counts / valid)),
        drop=by_tag_and_class(round_to_unit(lost)),
        spread=by_tag(round_to_unit(counts * relative_variance(counts, moments))),
        total=has_tag.sum(dim=0),
        together=has_tag[..., TAGGED].T @ has_tag[..., TAGGED],
    )


def relative_variance(counts: Tensor, moments: Tensor) -> Tensor:
    """Return the variance of each cluster's pixel positions over that of all pixels of the slice.

    Args:
        counts: Number of pixels, [B, R, K].
        moments: Sums over them of row, column, and row^2 + column^2, [B, 3, R, K].

    Returns:
        [B, R, K]; 0 for clusters without pixels.
    """

    def variance(number: Tensor, sums: Tensor) -> Tensor:
        mean = sums / number.clamp_min(1)[:, None]
        return (mean[:, 2] - mean[:, :2].square().sum(dim=1)).clamp_min(0)

    of_cluster = variance(counts, moments)
    of_all = variance(counts.sum(-1, keepdim=True), moments.sum(-1, keepdim=True))
    return of_cluster / of_all.clamp_min(UNIT)


def _tables(
    labels: Tensor, weights: Tensor, row: Tensor, slices: int, clusters: int
) -> tuple[Tensor, Tensor]:
    """Count pixels [B, R, K] and sum weights [n, Q] to [B, Q, R, K] by slice and cluster."""
    clusterings, quantities = labels.shape[1], weights.shape[1]
    offset = torch.arange(clusterings, device=labels.device) * clusters
    bins = (labels + offset + (row * (clusterings * clusters))[:, None]).flatten()
    size = slices * clusterings * clusters
    shape = (slices, clusterings, clusters)
    counts = torch.bincount(bins, minlength=size).view(shape).cpu().double()
    repeated = weights.T.repeat_interleave(clusterings, dim=1)
    sums = weights.new_zeros(quantities, size).scatter_add_(
        1, bins.expand(quantities, -1), repeated
    )
    return counts, sums.view(quantities, *shape).transpose(0, 1).cpu()


def round_to_unit(values: Tensor) -> Tensor:
    """Round to multiples of ``UNIT``."""
    return torch.round(values / UNIT) * UNIT
