"""Prototypes of a class and of its context by clustering, and maps of likeness to them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.clustering.kmeans import assign, fit_kmeans


class Prototypes(NamedTuple):
    """Prototypes of one class, padded to a fixed number."""

    centres: Tensor
    """Mean features of clusters, [2, K, D]: 0 of the class itself, 1 of its context."""
    used: Tensor
    """Which of them count, [2, K] bool."""


def spherical_clusters(points: Tensor, k: int, seed: int) -> Tensor:
    """Cluster vectors by their direction.

    Example:
        >>> points = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
        >>> sorted(spherical_clusters(points, k=2, seed=0).tolist())
        [[0.0, 2.0], [2.0, 0.0]]

    Args:
        points: [n, D].
        k: Number of clusters; fewer if there are fewer points.
        seed: Chooses the starting points.

    Returns:
        Mean of the points of each cluster that has any, [k', D].
    """
    if not len(points):
        return points
    k = min(k, len(points))
    unit = F.normalize(points, dim=1)
    labels = assign(unit, fit_kmeans(unit, k, seed)[None])[:, 0]
    sums = points.new_zeros(k, points.shape[1]).index_add_(0, labels, points)
    counts = torch.bincount(labels, minlength=k)
    return sums[counts > 0] / counts[counts > 0, None]


def select_prototypes(
    inside: Tensor, outside: Tensor, score: Tensor, k: int, sure: float, unlikely: float
) -> Prototypes:
    """Choose the prototypes of a class among the centres of clusters.

    Args:
        inside: Centres from where the map is active, [n, D].
        outside: Centres from the rest of the tagged slices, [m, D].
        score: Probability of the class at each of them, [n + m].
        k: Number to pad to, at least n and m.
        sure: Class prototypes have a probability above it; if there are none, the highest counts.
        unlikely: Context prototypes lie between it and ``sure``.
    """
    centres = torch.stack([_padded(inside, k), _padded(outside, k)])
    there, here = score[len(inside) :], score[: len(inside)]
    chosen = here > sure
    if len(here) and not chosen.any():
        chosen = here == here.max()
    context = (there > unlikely) & (there < sure)
    used = torch.stack([F.pad(each, (0, k - len(each))) for each in (chosen, context)])
    return Prototypes(centres, used)


def likeness(features: Tensor, prototypes: Prototypes) -> Tensor:
    """Map how much more alike a pixel is to the class than to its context.

    Args:
        features: [B, D, H, W].
        prototypes: Of one class.

    Returns:
        Mean cosine to the class prototypes less mean cosine to the context prototypes, [B, H, W],
        at least 0.
    """
    unit = F.normalize(prototypes.centres, dim=2)
    cosines = torch.einsum("bdhw,skd->bskhw", F.normalize(features, dim=1), unit)
    weights = prototypes.used.to(cosines.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1)
    own, context = torch.einsum("bskhw,sk->sbhw", cosines, weights)
    return F.relu(own - context)


def _padded(centres: Tensor, k: int) -> Tensor:
    return F.pad(centres, (0, 0, 0, k - len(centres)))
