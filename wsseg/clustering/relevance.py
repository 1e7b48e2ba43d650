"""From the scores of clusters to the relevance of pixels, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.views import View, doubts
from wsseg.utils.smoothing import blur
from wsseg.utils.targets import IGNORE

FAINT_SCORE = 0.1
"""A clustering whose best cluster scores less has found nothing. Not measured."""

PEAK_SHARE = 0.01
"""Share of a slice's pixels whose mean relevance is the slice's peak: single pixels may be relevant
by chance. Not measured."""

PLAIN_SCORE, VAGUE_SCORE = 0.75, 0.45
"""Best scores from which maps need no further smoothing, or twice the width. With it, Dice on T1
alone of the phantoms rose from 0.476 to 0.519; with four modalities it changes nothing."""


def votes_of(scores: Tensor) -> Tensor:
    """Turn scores into votes that add up over clusterings.

    Clusterings are averaged, each weighted by the score of its most relevant cluster: one that has
    found nothing does not outvote the others. Votes are relative to that score.

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
    """Return how many times as widely maps are smoothed where clusters tell classes vaguely.

    Maps are noisier there, and a lesion is broader than noise. Where clusters are plain they show
    its border, which smoothing would blur.

    Args:
        scores: Relevance of every cluster to every class, [R, K, C] in [0, 1].

    Returns:
        1 if the best cluster scores at least ``PLAIN_SCORE``, up to 2 at ``VAGUE_SCORE``.
    """
    best = float(scores.max())
    return 1 + min(max((PLAIN_SCORE - best) / (PLAIN_SCORE - VAGUE_SCORE), 0.0), 1.0)


def slice_peaks(labels: Tensor, row: Tensor, votes: Tensor, tags: Tensor) -> Tensor:
    """Return what the votes for each class come to at the most relevant pixels of each slice.

    Args:
        labels: Clusters of some pixels, [n, R] int64.
        row: Slice of each pixel, [n] int64, ascending.
        votes: [R, K, C].
        tags: Of the slices, [B, C], 0 or 1.

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
    return peaks.masked_fill(tags <= 0.5, torch.nan)


def typical_peak(peaks: Tensor) -> Tensor:
    """Return the median over slices of what the votes come to.

    Where clusters tell a lesion plainly, all clusterings agree on its pixels and votes come to
    almost 1. On T1 alone they come to half of that, and a pixel that has a fifth of it is as good a
    candidate: relevance is relative to what the class reaches in this data set.

    Args:
        peaks: [n, C], NaN where a slice does not count.

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
    """Turn the votes of pixels' clusters into maps; tags overrule them.

    Args:
        labels: Clusters of the valid pixels in raster order, [n, R] int64.
        valid: [B, h, w] bool.
        tags: [B, C], 0 or 1.
        votes: What a cluster adds to the relevance of its pixels, [R, K, C].
        likeness: How much a cluster looks like each class, [R, K, C] in [0, 1].
        views: What the clusterings saw beside the features.
        smoothing: Width in pixels of the Gaussian that smooths the maps; tissue comes in regions,
            noise in single pixels.

    Returns:
        [B, C, h, w] float32: 0 all over a slice for a class it is not tagged with, else the
        relevance in [0, 1] at valid pixels and ``IGNORE`` at the others.
    """
    doubtful = [view for view in views if doubts(view)]
    clusterings = range(len(votes))
    trusts = []
    for view in doubtful:
        blind = [number for number in clusterings if not view.is_seen_by(number)]
        trusts.append(view.trust(_lay_out(labels, valid, likeness, blind), valid))
    # Clusterings that are doubted alike are added up before they are weighed.
    alike: dict[tuple[bool, ...], list[int]] = {}
    for number in clusterings:
        doubts_of = tuple(view.is_seen_by(number) for view in doubtful)
        alike.setdefault(doubts_of, []).append(number)
    relevance = torch.zeros((), device=labels.device)
    for doubts_of, chosen in sorted(alike.items()):
        part = _lay_out(labels, valid, votes, chosen)
        for trust in (each for each, applies in zip(trusts, doubts_of, strict=True) if applies):
            part = trust * part
        relevance = relevance + part
    relevance = blur(relevance.clamp_(0, 1), valid[:, None], smoothing)
    relevance = relevance.masked_fill(~valid[:, None], IGNORE)
    return relevance.masked_fill_((tags.to(labels.device) <= 0.5)[:, :, None, None], 0.0)


def _lay_out(labels: Tensor, valid: Tensor, values: Tensor, chosen: Sequence[int]) -> Tensor:
    """Add up the values of the pixels' clusters in the chosen clusterings, as maps [B, C, h, w].

    Args:
        labels: Clusters of the valid pixels in raster order, [n, R] int64.
        valid: [B, h, w] bool.
        values: Of the clusters, [R, K, C].
        chosen: Which clusterings count.
    """
    values = values.to(labels.device)
    total = values.new_zeros(len(labels), values.shape[2], dtype=torch.float32)
    for number in chosen:
        total += values[number].float().index_select(0, labels[:, number])
    maps = values.new_zeros(valid.numel(), values.shape[2], dtype=torch.float32)
    maps.index_copy_(0, valid.flatten().nonzero()[:, 0], total)
    return maps.view(*valid.shape, -1).permute(0, 3, 1, 2)
