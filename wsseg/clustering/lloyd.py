"""Lloyd's algorithm on tensors that stay where they are, with any search for the nearest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 4096  # points that are added up in one product
CHUNK = 2**24  # distances held at a time (64 MiB)
Search = Callable[[Tensor], tuple[Tensor, Tensor]]


def lloyd(points: Tensor, start: Tensor, iterations: int, search: Search) -> Tensor:
    """Cluster points (Lloyd, IEEE Transactions on Information Theory, 1982).

    Args:
        points: [n, D] float32.
        start: Centroids to start from, [k, D].
        iterations: Steps.
        search: Gives each point's nearest centroid [n] int64 and squared distance [n].

    Returns:
        Centroids [k, D] on the device of the points.
    """
    centroids = start.to(points).contiguous()
    for _ in range(iterations):
        centroids = moved(points, *search(centroids), centroids)
    return centroids


def torch_search(points: Tensor) -> Search:
    """Return torch's search, which works on any device.

    Args:
        points: [n, D] float32.
    """
    square = points.square().sum(dim=1)

    def search(centroids: Tensor) -> tuple[Tensor, Tensor]:
        labels, nearness = nearest(points, centroids[None])
        return labels[:, 0], square - 2 * nearness[:, 0]

    return search


def nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest centroid of each point in each of several clusterings.

    Args:
        points: [n, D] float32.
        centroids: [R, K, D] float32 on the same device.

    Returns:
        Labels [n, R] int64, and how near they are, [n, R]: half the difference between the squared
        length of the point and its squared distance.
    """
    clusterings, k, dimension = centroids.shape
    flat = centroids.reshape(-1, dimension)
    offset = -0.5 * flat.square().sum(dim=1)
    found = [
        torch.addmm(offset, part, flat.T).view(len(part), clusterings, k).max(dim=2)
        for part in points.split(max(1, CHUNK // len(flat)))
    ]
    labels, nearness = zip(*((each.indices, each.values) for each in found), strict=True)
    return torch.cat(labels), torch.cat(nearness)


def moved(points: Tensor, labels: Tensor, distances: Tensor, centroids: Tensor) -> Tensor:
    """Return the means of the points of each cluster.

    An empty cluster moves to one of the points that are farthest from their centroids.

    Args:
        points: [n, D].
        labels: Nearest centroid of each, [n] int64.
        distances: Squared distance to it, [n].
        centroids: [k, D].
    """
    counts, sums = cluster_sums(points, labels, len(centroids))
    far = points[distances.topk(min(len(centroids), len(points))).indices]
    turn = (counts == 0).long().cumsum(0).sub(1).clamp_min(0)  # no wait for the device
    counts = counts[:, None]
    return torch.where(counts > 0, sums / counts.clamp_min(1), far[turn])


def cluster_sums(points: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Count the points of each cluster, and add them up.

    By products, not by index, which adds in random order on a GPU; of parts, since one product of
    few clusters and very many points keeps most of a GPU idle.

    Args:
        points: [n, D].
        labels: Cluster of each, [n] int64.
        k: Number of clusters.

    Returns:
        [k] and [k, D].
    """
    parts = -(-len(points) // ROWS)
    missing = parts * ROWS - len(points)
    numbers = torch.arange(k, device=points.device)
    labels = F.pad(labels, (0, missing), value=-1).view(parts, 1, ROWS)
    member = (labels == numbers[:, None]).to(points.dtype)
    sums = member @ F.pad(points, (0, 0, 0, missing)).view(parts, ROWS, -1)
    return member.sum(dim=(0, 2)), sums.sum(dim=0)
