"""Lloyd's algorithm on tensors that stay where they are, with any search for the nearest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Search = Callable[[Tensor], tuple[Tensor, Tensor]]


def lloyd(
    points: Tensor, k: int, seed: int, iterations: int, init: Tensor | None, search: Search
) -> Tensor:
    """Cluster points (Lloyd, IEEE Transactions on Information Theory, 1982).

    Args:
        points: [n, D] float32, at least k of them.
        k: Number of clusters.
        seed: Chooses the starting points.
        iterations: Steps.
        init: Centroids to start from, [k, D]; random points by default.
        search: Gives each point's nearest centroid [n] int64 and squared distance [n].

    Returns:
        Centroids [k, D] on the device of the points.
    """
    if init is None:
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        init = points[order[:k].to(points.device)]
    centroids = init.to(points).contiguous().clone()
    for _ in range(iterations):
        centroids = moved(points, *search(centroids), centroids)
    return centroids


def moved(points: Tensor, labels: Tensor, distances: Tensor, centroids: Tensor) -> Tensor:
    """Return the means of the points of each cluster.

    An empty cluster moves to one of the points that are farthest from their centroids.

    Args:
        points: [n, D].
        labels: Nearest centroid of each, [n] int64.
        distances: Squared distance to it, [n].
        centroids: [k, D].
    """
    # A product rather than sums by index: the order of those is random on a GPU.
    member = torch.nn.functional.one_hot(labels, len(centroids)).T.to(points.dtype)
    counts = member.sum(dim=1, keepdim=True)
    far = points[distances.topk(min(len(centroids), len(points))).indices]
    turn = (counts[:, 0] == 0).long().cumsum(0).sub(1).clamp_min(0)  # no wait for the device
    return torch.where(counts > 0, member @ points / counts.clamp_min(1), far[turn])
