"""What is counted about clusters, in sums that add up over batches and processes.

Every sum is kept in float64 as a multiple of ``UNIT``, so that additions are exact and the result
does not depend on the order of slices or on how they are shared among processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

UNTAGGED, TAGGED = 0, 1
BUCKETS = 64
"""Cases and levels that are counted apart; more of them share buckets: statistics stay bounded."""

UNIT = 2.0**-20
"""Sums are kept as multiples of this, so that they are exact in any order."""


@dataclass(frozen=True)
class ClusterStatistics:
    """Sums over slices for R clusterings of K clusters and C classes.

    The last axis, or the one before ``G``, is the tag: ``[..., UNTAGGED]`` sums over the slices
    without the class, ``[..., TAGGED]`` over those with it.

    Attributes:
        pixels: Valid pixels, by level, [R, K, C, 2, G].
        by_case: Valid pixels, by case (patient), [R, K, C, 2, G].
        activation: Activation summed over these pixels, [R, K, C, 2].
        slices: Slices in which the cluster occurs, [R, K, C, 2].
        votes: Those in which the cluster alone votes for the class: the mean activation over its
            pixels exceeds one half, [R, K, C, 2].
        area: Sum over slices of the share of valid pixels in the cluster, [R, K, C, 2].
        drop: Sum over slices of the share of the class's activation that is lost when the
            cluster's pixels are erased, [R, K, C, 2].
        spread: Sum over pixels of how far the cluster spreads over their slice, [R, K, C, 2]: the
            variance of its pixels' places, as a share of that of all valid pixels.
        total: All slices, [C, 2].
        together: Slices that have both the class of the row and that of the column, [C, C].
    """

    pixels: Tensor
    by_case: Tensor
    activation: Tensor
    slices: Tensor
    votes: Tensor
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
        """Return the statistics with every tensor changed."""
        return ClusterStatistics(**{f.name: change(getattr(self, f.name)) for f in fields(self)})

    @property
    def support(self) -> Tensor:
        """Effective number of cases that a cluster's pixels come from, [R, K, C, 2].

        The square of their sum over the sum of their squares (Kish, Survey Sampling, 1965): n if
        they spread evenly over n cases, near 1 if most are from one, 0 without pixels.
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
        votes=zeros(*shape),
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
        tags: [B, C], 0 or 1.
        case: Group of each slice, [B] int64.
        level: Stratum of each slice, [B] int64.
        clusters: K.

    Returns:
        The statistics, on the CPU.
    """
    place = place.double()
    moments = torch.cat((place, place.square().sum(dim=1, keepdim=True)), dim=1)
    # Rounded first, sums are exact in any order: also on a GPU, where the order is not fixed.
    weights = torch.cat((exact(activation.double()), moments), dim=1)
    counts, sums = _tables(labels, weights, row, len(tags), clusters)
    sums, moments = sums.split((activation.shape[1], 3), dim=1)
    tags = tags.cpu()
    side = F.one_hot((tags > 0.5).long(), 2).double()  # [B, C, 2]
    occurs = (counts > 0).double()
    valid = counts[:, :1].sum(dim=-1, keepdim=True).clamp_min(1)
    active = sums[:, :, :1].sum(dim=-1, keepdim=True)
    votes = (sums > 0.5 * counts[:, None]).double()
    lost = torch.where(active > 0, sums / active.clamp_min(UNIT), 0.0)

    def by_bucket(number: Tensor) -> Tensor:
        bucket = F.one_hot(number.cpu().long().remainder(BUCKETS), BUCKETS).double()  # [B, G]
        return torch.einsum("brk,bcs,bg->rkcsg", counts, side, bucket)

    def by_tag(table: Tensor) -> Tensor:
        return torch.einsum("brk,bcs->rkcs", table, side)

    def by_tag_and_class(table: Tensor) -> Tensor:
        return torch.einsum("bcrk,bcs->rkcs", table, side)

    return ClusterStatistics(
        pixels=by_bucket(level),
        by_case=by_bucket(case),
        activation=by_tag_and_class(sums),
        slices=by_tag(occurs),
        votes=by_tag_and_class(votes),
        area=by_tag(exact(counts / valid)),
        drop=by_tag_and_class(exact(lost)),
        spread=by_tag(exact(counts * relative_variance(counts, moments))),
        total=side.sum(dim=0),
        together=side[..., TAGGED].T @ side[..., TAGGED],
    )


def relative_variance(counts: Tensor, moments: Tensor) -> Tensor:
    """Return how far each cluster spreads over each slice, against all clusters together.

    Args:
        counts: Pixels, [B, R, K].
        moments: Sums over these of row, column and the squares of both, [B, 3, R, K].

    Returns:
        [B, R, K]; 0 for clusters without pixels.
    """

    def variance(number: Tensor, sums: Tensor) -> Tensor:
        mean = sums / number.clamp_min(1)[:, None]
        return (mean[:, 2] - mean[:, :2].square().sum(dim=1)).clamp_min(0)

    own = variance(counts, moments)
    whole = variance(counts.sum(-1, keepdim=True), moments.sum(-1, keepdim=True))
    return own / whole.clamp_min(UNIT)


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


def exact(values: Tensor) -> Tensor:
    """Round to multiples of ``UNIT``."""
    return torch.round(values / UNIT) * UNIT
