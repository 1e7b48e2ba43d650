"""From labels and the judgement of clusters to maps of relevance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.smoothing import blur
from wsseg.clustering.symmetry import one_sided
from wsseg.clustering.targets import IGNORE

FAINT = 0.1  # clusterings whose best cluster is less relevant than this have found nothing


class Verdict(NamedTuple):
    """What is known of the clusters of R clusterings."""

    scores: Tensor
    """Relevance of every cluster to every class, [R, K, C] in [0, 1]."""
    leaning: Tensor
    """How much a cluster looks like the class, however uncertain, [R, K, C] in [0, 1]."""
    sees_asymmetry: Tensor
    """Which clusterings saw the asymmetry beside the features, [R] bool."""


def relevance_map(
    labels: Tensor, valid: Tensor, verdict: Verdict, tags: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Lay the verdict out as maps, with what the tags say on top.

    Clusterings are averaged, each weighted by the score of its most relevant cluster: one that has
    found nothing does not outvote the others. Relevance is relative to that score.

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
    scores = verdict.scores.to(labels.device)
    weight = scores.amax(dim=1, keepdim=True)  # [R, 1, C]
    total = weight.square().sum(dim=0).clamp_min(len(scores) * FAINT**2)
    paired = verdict.sees_asymmetry.to(labels.device)
    votes = scores * weight / total
    relevance = _lay_out(labels, valid, votes, ~paired)
    if bool(paired.any()):
        leaning = _lay_out(labels, valid, verdict.leaning.to(labels.device), ~paired)
        relevance += one_sided(leaning, valid) * _lay_out(labels, valid, votes, paired)
    relevance = blur(relevance.clamp_(0, 1), valid[:, None], smoothing)
    relevance = relevance.masked_fill(~valid[:, None], IGNORE)
    return relevance.masked_fill_((tags.to(labels.device) <= 0.5)[:, :, None, None], 0.0)


def _lay_out(labels: Tensor, valid: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
    """Add up the values [R, K, C] of the pixels' clusters [n, R] in the chosen clusterings [R]."""
    clusterings = chosen.nonzero()[:, 0]
    found = torch.zeros(*valid.shape, values.shape[2], device=labels.device)
    found[valid] = values.float()[clusterings, labels[:, clusterings]].sum(dim=1)
    return found.permute(0, 3, 1, 2)
