"""From labels and scores of clusters to maps of relevance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.symmetry import one_sided
from wsseg.clustering.targets import IGNORE
from wsseg.utils.smoothing import blur

FAINT = 0.1  # clusterings whose best cluster is less relevant than this have found nothing
PEAK_SHARE = 0.01  # of a slice's pixels: single ones may be relevant by chance
PLAIN, VAGUE = 0.75, 0.45  # best scores from which maps need no further smoothing, or all of it


class Verdict(NamedTuple):
    """What is known of the clusters of R clusterings."""

    votes: Tensor
    """What a pixel's cluster in each clustering adds to its relevance to every class, [R, K, C]."""
    leaning: Tensor
    """How much a cluster looks like the class, however uncertain, [R, K, C] in [0, 1]."""
    sees_asymmetry: Tensor
    """Which clusterings saw the asymmetry beside the features, [R] bool."""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Verdict:
        """Return the verdict in a checkpoint's state of ``ClusterReSupervision``."""
        return cls(*(state[name] for name in cls._fields))


def weigh(scores: Tensor) -> Tensor:
    """Turn scores into votes that add up over clusterings.

    Clusterings are averaged, each weighted by the score of its most relevant cluster: one that has
    found nothing does not outvote the others. Votes are relative to that score.

    Args:
        scores: Relevance of every cluster to every class, [R, K, C] in [0, 1].

    Returns:
        [R, K, C]; the votes of a pixel's R clusters add up to at most 1.
    """
    weight = scores.amax(dim=1, keepdim=True)  # [R, 1, C]
    total = weight.square().sum(dim=0).clamp_min(len(scores) * FAINT**2)
    return scores * weight / total


def breadth(scores: Tensor) -> float:
    """Return how many times as widely maps are smoothed where clusters tell classes vaguely.

    Maps are noisier there, and a lesion is broader than noise. Where clusters are plain they show
    its border, which smoothing would blur.

    Args:
        scores: Relevance of every cluster to every class, [R, K, C] in [0, 1].

    Returns:
        1 if the best one is plain, up to 2 if it is vague.
    """
    best = float(scores.max())
    return 1 + min(max((PLAIN - best) / (PLAIN - VAGUE), 0.0), 1.0)


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
        [C], at least ``FAINT``; 1 for a class without slices.
    """
    if not len(peaks):
        return peaks.new_ones(peaks.shape[1])
    return peaks.nanmedian(dim=0).values.nan_to_num(1.0).clamp_min(FAINT)


def relevance_map(
    labels: Tensor, valid: Tensor, verdict: Verdict, tags: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Turn the verdict into maps; tags overrule it.

    Args:
        labels: Clusters of the valid pixels in raster order, [n, R] int64.
        valid: [B, h, w] bool.
        verdict: Of the clusters.
        tags: [B, C], 0 or 1.
        smoothing: Width in pixels of the Gaussian that smooths the maps; tissue comes in regions,
            noise in single pixels.

    Returns:
        [B, C, h, w] float32: 0 all over a slice for a class it is not tagged with, else the
        relevance in [0, 1] at valid pixels and ``IGNORE`` at the others.
    """
    votes = verdict.votes.to(labels.device)
    paired = verdict.sees_asymmetry.to(labels.device)
    place = valid.flatten().nonzero()[:, 0]

    def lay_out(values: Tensor, chosen: Tensor) -> Tensor:
        found = values.new_zeros(valid.numel(), values.shape[2], dtype=torch.float32)
        found.index_copy_(0, place, _add_up(labels, values, chosen))
        return found.view(*valid.shape, -1).permute(0, 3, 1, 2)

    relevance = lay_out(votes, ~paired)
    if bool(paired.any()):
        leaning = lay_out(verdict.leaning.to(labels.device), ~paired)
        relevance += one_sided(leaning, valid) * lay_out(votes, paired)
    relevance = blur(relevance.clamp_(0, 1), valid[:, None], smoothing)
    relevance = relevance.masked_fill(~valid[:, None], IGNORE)
    return relevance.masked_fill_((tags.to(labels.device) <= 0.5)[:, :, None, None], 0.0)


def _add_up(labels: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
    """Add up the values [R, K, C] of the pixels' clusters [n, R] in the chosen clusterings [R]."""
    total = values.new_zeros(len(labels), values.shape[2], dtype=torch.float32)
    for number in chosen.nonzero()[:, 0].tolist():
        total += values[number].float().index_select(0, labels[:, number])
    return total
