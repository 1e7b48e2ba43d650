"""K-means and assignment: what wsseg uses beside scikit-learn and plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import Row, device, measure, row
from torch import Tensor

from wsseg.clustering.kmeans import (
    KMeansJob,
    assign,
    fit_clusterings,
    fit_kmeans,
    load_faiss,
    nearest,
)

ITERATIONS = 20
CLUSTERINGS = 4
DIMENSIONS = 28  # 16 features, 8 of the asymmetry and 4 of the deviation of four modalities


def rows(scale: float) -> list[Row]:
    """Time the default sample, the sample at K = 256, and the authors' batch.

    Args:
        scale: Of the number of points.
    """
    shapes = ((50_000, DIMENSIONS, 64), (50_000, DIMENSIONS, 256), (921_600, 64, 10))
    found = []
    for count, dimensions, k in shapes:
        count = max(10 * k, int(count * scale))
        draw = torch.Generator().manual_seed(0)
        points = torch.randn(count, dimensions, generator=draw).to(device())
        name = f"k-means, {count:,} x {dimensions}, K={k}, {ITERATIONS} iterations"
        found += _compare(name, _fits(points, k))
    points = torch.randn(max(640, int(50_000 * scale)), DIMENSIONS, device=device())
    name = (
        f"k-means as by default, {CLUSTERINGS} clusterings of {len(points):,} x {DIMENSIONS}, K=64"
    )
    found += _compare(
        name,
        {who: _repeated(fit) for who, fit in _fits(points, 64).items()}
        | {
            "wsseg": lambda: fit_clusterings(
                [KMeansJob(points, seed) for seed in range(CLUSTERINGS)], 64, ITERATIONS
            ),
        },
    )
    points = torch.randn(int(500_000 * scale), DIMENSIONS, device=device())
    centroids = torch.randn(4, 64, DIMENSIONS, device=device())
    name = f"assignment, {len(points):,} x {DIMENSIONS}, 4 clusterings of K=64"
    works: dict[str, Callable[[], object]] = {
        "wsseg": lambda: assign(points, centroids),
        "plain torch": lambda: nearest(points, centroids),
    }
    return found + _compare(name, works)


def _fits(points: Tensor, k: int) -> dict[str, Callable[[], object]]:
    from sklearn.cluster import KMeans

    array = points.cpu().numpy()
    sklearn = KMeans(k, init="random", n_init=1, max_iter=ITERATIONS, tol=0.0, random_state=0)
    fits = {
        "wsseg": lambda: fit_kmeans(points, k, 0, ITERATIONS),
        "scikit-learn, CPU": lambda: sklearn.fit(array),
        "plain torch": lambda: plain(points, k, ITERATIONS),
    }
    if points.is_cuda and hasattr(load_faiss(), "StandardGpuResources"):
        fits["wsseg, faiss's search"] = lambda: fit_kmeans(
            points, k, 0, ITERATIONS, backend="faiss"
        )
    return fits


def _repeated(fit: Callable[[], object]) -> Callable[[], object]:
    return lambda: [fit() for _ in range(CLUSTERINGS)]


def _compare(name: str, works: dict[str, Callable[[], object]]) -> list[Row]:
    times = {who: measure(work) for who, work in works.items()}
    best = min(sorted(each)[len(each) // 2] for each in times.values())
    found = []
    for who, seconds in times.items():
        ratio = sorted(seconds)[len(seconds) // 2] / best
        found.append(row(f"{name}: {who}", seconds, note=f"{ratio:.2f} times the fastest"))
    return found


def plain(points: Tensor, k: int, iterations: int) -> Tensor:
    """Cluster by plain torch, from random points.

    Args:
        points: [n, D].
        k: Number of clusters.
        iterations: Steps.
    """
    centroids = points[torch.randperm(len(points), device=points.device)[:k]].clone()
    for _ in range(iterations):
        labels = nearest(points, centroids[None])[:, 0]
        sums = torch.zeros_like(centroids).index_add_(0, labels, points)
        counts = torch.bincount(labels, minlength=k)[:, None]
        centroids = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
    return centroids
