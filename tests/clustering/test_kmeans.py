"""K-means and assignment against plain arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faiss
import pytest
import torch

from wsseg.clustering.kmeans import Clustering, assign, fit_clusterings, fit_kmeans
from wsseg.clustering.lloyd import nearest
from wsseg.utils.errors import InputError


def lloyd(points: torch.Tensor, centroids: torch.Tensor, iterations: int) -> torch.Tensor:
    """Five lines of k-means, for clusters that never empty."""
    for _ in range(iterations):
        nearest = torch.cdist(points, centroids).argmin(dim=1)
        centroids = torch.stack([points[nearest == k].mean(dim=0) for k in range(len(centroids))])
    return centroids


def blobs(count: int = 3000, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    centres = 8 * torch.randn(6, 5, generator=draw)
    return centres[torch.arange(count) % 6] + torch.randn(count, 5, generator=draw)


def test_equals_lloyd_from_the_same_start() -> None:
    points = blobs()
    start = points[:6].clone()
    assert torch.allclose(
        fit_kmeans(points, 6, seed=0, iterations=5, init=start), lloyd(points, start, 5), atol=1e-4
    )


def test_uses_every_point() -> None:
    # faiss by default would silently train on 256 points per centroid: mean off by about 0.06
    points = torch.randn(50_000, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(fit_kmeans(points, 1, seed=0)[0], points.mean(dim=0), atol=1e-4)


def test_same_seed_same_centroids_other_seed_others() -> None:
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(1))
    first, again, other = (fit_kmeans(points, 16, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_assigns_the_nearest_centroid_of_each_clustering() -> None:
    points, centroids = blobs(500), torch.randn(3, 7, 5)
    expected = torch.stack([torch.cdist(points, c).argmin(dim=1) for c in centroids], dim=1)
    assert torch.equal(assign(points, centroids), expected)
    assert torch.equal(nearest(points, centroids)[0], expected)
    assert assign(points[:0], centroids).shape == (0, 3)
    assert nearest(points[:0], centroids)[0].shape == (0, 3)


def test_threads_of_faiss_are_given_back() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    fit_kmeans(blobs(100), 2, seed=0)
    assert faiss.omp_get_max_threads() == 2
    faiss.omp_set_num_threads(before)


def test_side_by_side_as_one_by_one() -> None:
    before = torch.get_num_threads()
    points = torch.randn(5000, 24, generator=torch.Generator().manual_seed(1))
    jobs = [Clustering(points, 3), Clustering(points * 2, 4), Clustering(points, 5, points[:16])]
    try:
        torch.set_num_threads(2)
        found = fit_clusterings(jobs, 16)
    finally:
        torch.set_num_threads(before)
    for job, each in zip(jobs, found, strict=True):
        assert torch.equal(each, fit_kmeans(job.points, 16, job.seed, init=job.init))


def test_side_by_side_an_error_is_raised() -> None:
    with pytest.raises(InputError, match="16 clusters of 8 pixels"):
        fit_clusterings([Clustering(torch.randn(8, 2), 0)] * 2, 16)


def test_too_few_points() -> None:
    with pytest.raises(InputError, match="8 clusters of 3 pixels"):
        fit_kmeans(torch.randn(3, 2), 8, seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value: float) -> None:
    points = blobs(100)
    points[3, 1] = value
    with pytest.raises(InputError, match="NaN"):
        fit_kmeans(points, 4, seed=0)
    with pytest.raises(InputError, match="NaN"):
        assign(points, blobs(100)[None, :4])


def test_silent_about_small_samples(capfd: pytest.CaptureFixture[str]) -> None:
    fit_kmeans(blobs(60), 4, seed=0)
    assert capfd.readouterr() == ("", "")


def test_works_beside_simpleitk() -> None:
    """Both wrap std::vector<float>; whichever is imported first gives Python its class."""
    code = (
        "import SimpleITK, torch; from wsseg.clustering.kmeans import fit_kmeans; "
        "points = torch.randn(200, 3); start = fit_kmeans(points, 4, 0, 3); "
        "print(fit_kmeans(points, 4, 0, 3, start).shape)"
    )
    root = Path(__file__).resolve().parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert "[4, 3]" in shown.stdout
