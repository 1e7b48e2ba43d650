"""Functions that turn the scores of clusters into the relevance of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.views import View, limits_trust
from wsseg.utils.smoothing import blur
from wsseg.utils.targets import IGNORE, limited_by

FAINT_SCORE = 0.1
"""A clustering whose best cluster scores less counts as having found nothing. Not measured."""

PEAK_SHARE = 0.01
"""The peak of a slice is the mean over this share of its pixels, the most relevant ones: a single
pixel may be relevant by chance. Not measured."""

CLEAR_SCORE, VAGUE_SCORE = 0.75, 0.45
"""If the best cluster scores at least the first, maps are smoothed as the options say; at most the
second, twice as widely. Dice on T1 alone of the phantoms rose from 0.476 to 0.519 with it; with
four modalities it changes nothing."""


def votes_of(scores: Tensor) -> Tensor:
    """Turn the scores of clusters into votes, whose sum over clusterings is a pixel's relevance.

    Scores are divided by that of the best cluster of their clustering, and clusterings are averaged
    with the squares of these best scores as weights, so that one that found nothing counts little.

    Args:
        scores: Relevance of every cluster to every class, [R, K, C] in [0, 1].

    Returns:
        [R, K, C]; the votes of a pixel's R clusters add up to at most 1.

    Example:
        >>> scores = torch.tensor([[[0.5], [0.1]], [[0.0], [0.0]]])  # the second found nothing
        >>> votes_of(scores).squeeze(2).tolist()
        [[1.0, 0.20000000298023224], [0.0, 0.0]]
    """
    weight = scores.amax(dim=1, keepdim=True)  # [R, 1, C]
    total = weight.square().sum(dim=0).clamp_min(len(scores) * FAINT_SCORE**2)
    return scores * weight / total


def smoothing_factor(scores: Tensor) -> float:
    """Return the factor by which maps are smoothed more widely because scores are low.

    With low scores maps are noisy, and noise is finer than a lesion. With high scores maps show the
    border of a lesion, which smoothing would blur.

    Args:
        scores: Relevance of every cluster to every class, [R, K, C] in [0, 1].

    Returns:
        1 if the best cluster scores at least ``CLEAR_SCORE``, rising to 2 at ``VAGUE_SCORE``.
    """
    best = float(scores.max())
    return 1 + min(max((CLEAR_SCORE - best) / (CLEAR_SCORE - VAGUE_SCORE), 0.0), 1.0)


def slice_peaks(labels: Tensor, row: Tensor, votes: Tensor, tags: Tensor) -> Tensor:
    """Return the relevance that each slice reaches for each class, by its most relevant pixels.

    Args:
        labels: Clusters of the sampled pixels, [n, R] int64.
        row: Slice of each pixel, [n] int64, ascending.
        votes: Votes of the clusters, [R, K, C].
        tags: Tags of the slices, [B, C], 0, 1, or NaN where unknown.

    Returns:
        [B, C]; NaN for classes that a slice is not tagged with, and for slices without pixels.
    """
    total = votes[torch.arange(len(votes)), labels].sum(dim=1)  # [n, C]
    peaks = torch.full_like(tags, torch.nan)
    counts = torch.bincount(row, minlength=len(tags)).tolist()
    for number, pixels in enumerate(total.split(counts)):
        if len(pixels):
            most = max(1, round(PEAK_SHARE * len(pixels)))
            peaks[number] = pixels.topk(most, dim=0).values.mean(dim=0)
    return torch.where(tags > 0.5, peaks, torch.nan)


def typical_peak(peaks: Tensor) -> Tensor:
    """Return the peak relevance of a typical slice, which relevance is then divided by.

    Where clusters separate a lesion well, all clusterings agree on its pixels, and the sum of their
    votes is almost 1. On T1 alone it reaches half of that; since relevance is divided by it, the
    same thresholds fit both. The typical slice is the median.

    Args:
        peaks: From :func:`slice_peaks`, [n, C]; NaN is left out.

    Returns:
        [C], at least ``FAINT_SCORE``; 1 for a class without slices.
    """
    if not len(peaks):
        return peaks.new_ones(peaks.shape[1])
    return peaks.nanmedian(dim=0).values.nan_to_num(1.0).clamp_min(FAINT_SCORE)


def relevance_map(
    labels: Tensor,
    valid: Tensor,
    tags: Tensor,
    votes: Tensor,
    likeness: Tensor,
    views: Sequence[View] = (),
    smoothing: float = 0.0,
) -> Tensor:
    """Map the relevance of pixels: the sum of their clusters' votes, and 0 where a tag is missing.

    Args:
        labels: Clusters of the valid pixels in raster order, [n, R] int64.
        valid: [B, h, w] bool.
        tags: [B, C], 0, 1, or NaN where unknown.
        votes: What a cluster adds to the relevance of its pixels, [R, K, C].
        likeness: How much a cluster looks like each class, [R, K, C] in [0, 1].
        views: The views that some clusterings see.
        smoothing: Width in pixels of the Gaussian that smooths the maps.

    Returns:
        [B, C, h, w] float32: 0 in the whole slice for a class that it is not tagged with,
        ``IGNORE`` if the tag is unknown, else the relevance in [0, 1] at valid pixels and
        ``IGNORE`` at the others.
    """
    limiting = [view for view in views if limits_trust(view)]
    clusterings = range(len(votes))
    trusts = []
    for view in limiting:
        without = [number for number in clusterings if not view.is_seen_by(number)]
        if without:  # else nothing is known but what the view itself shows
            trusts.append(view.trust(_sum_to_maps(labels, valid, likeness, without), valid))
        else:
            trusts.append(torch.ones((), device=labels.device))
    # Clusterings that see the same limiting views are added up before trust is applied.
    groups: dict[tuple[bool, ...], list[int]] = {}
    for number in clusterings:
        sees = tuple(view.is_seen_by(number) for view in limiting)
        groups.setdefault(sees, []).append(number)
    relevance = torch.zeros((), device=labels.device)
    for sees, members in sorted(groups.items()):
        part = _sum_to_maps(labels, valid, votes, members)
        for trust in (one for one, applies in zip(trusts, sees, strict=True) if applies):
            part = trust * part
        relevance = relevance + part
    relevance = blur(relevance.clamp_(0, 1), valid[:, None], smoothing)
    return limited_by(tags, relevance.masked_fill(~valid[:, None], IGNORE))


def _sum_to_maps(labels: Tensor, valid: Tensor, values: Tensor, chosen: Sequence[int]) -> Tensor:
    """Map the sum over some clusterings of a value of each pixel's cluster, [B, C, h, w].

    Args:
        labels: Clusters of the valid pixels in raster order, [n, R] int64.
        valid: [B, h, w] bool.
        values: Value of each cluster for each class, [R, K, C].
        chosen: The clusterings to sum over.
    """
    values = values.to(labels.device)
    total = values.new_zeros(len(labels), values.shape[2], dtype=torch.float32)
    for number in chosen:
        total += values[number].float().index_select(0, labels[:, number])
    maps = values.new_zeros(valid.numel(), values.shape[2], dtype=torch.float32)
    maps.index_copy_(0, valid.flatten().nonzero()[:, 0], total)
    return maps.view(*valid.shape, -1).permute(0, 3, 1, 2)
