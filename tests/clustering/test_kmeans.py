"""K-means and assignment against scikit-learn and plain arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import faiss
import pytest
import torch
from sklearn.cluster import KMeans

from wsseg.clustering.kmeans import (
    ROWS,
    Backend,
    KMeansJob,
    assign,
    fit_clusterings,
    fit_kmeans,
    nearest,
)
from wsseg.utils.errors import InputError


def blobs(count: int = 3000, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    centres = 8 * torch.randn(6, 5, generator=draw)
    return centres[torch.arange(count) % 6] + torch.randn(count, 5, generator=draw)


each_backend = pytest.mark.parametrize("backend", ["faiss", "torch"])


@each_backend
def test_equals_scikit_learn_from_the_same_start(backend: Backend) -> None:
    points = blobs()
    found = fit_kmeans(points, 6, seed=0, iterations=5, init=points[:6], backend=backend)
    theirs = KMeans(6, init=points[:6].numpy(), max_iter=5, tol=0.0, algorithm="lloyd")
    expected = torch.from_numpy(theirs.fit(points.numpy()).cluster_centers_)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_backends_start_from_the_same_points(seed: int) -> None:
    """So that a run on a GPU finds the clusters of one on the CPU."""
    points = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1))
    one, other = (fit_kmeans(points, 16, seed, 8, backend=b) for b in ("faiss", "torch"))
    assert torch.allclose(one, other, atol=1e-4)


def test_the_cpu_takes_faiss_unless_told_otherwise() -> None:
    points = blobs()
    found, one, other = (fit_kmeans(points, 6, 0, backend=b) for b in ("auto", "faiss", "torch"))
    assert torch.equal(found, one)
    assert not torch.equal(found, other)


@each_backend
def test_uses_every_point(backend: Backend) -> None:
    # faiss by default would silently train on 256 points per centroid: mean off by about 0.06
    points = torch.randn(50_000, 3, generator=torch.Generator().manual_seed(1))
    found = fit_kmeans(points, 1, seed=0, backend=backend)
    assert torch.allclose(found[0], points.mean(dim=0), atol=1e-4)


@pytest.mark.parametrize("count", [3, ROWS, 2 * ROWS + 5])
def test_torch_adds_up_any_number_of_points(count: int) -> None:
    labels = torch.arange(count) % 3
    points = 100.0 * torch.eye(3)[labels] + torch.randn(count, 3)
    expected = torch.stack([points[labels == each].mean(dim=0) for each in range(3)])
    found = fit_kmeans(points, 3, 0, 2, init=points[:3], backend="torch")
    assert torch.allclose(found, expected, atol=1e-3)


def test_torch_moves_empty_clusters_to_far_points() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [20.0]])
    start = torch.tensor([[0.0], [1000.0], [2000.0]])
    found = fit_kmeans(points, 3, 0, iterations=1, init=start, backend="torch")
    assert found[:, 0].tolist() == [7.75, 20.0, 10.0]


@each_backend
def test_same_seed_same_centroids_other_seed_others(backend: Backend) -> None:
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(1))
    first, again, other = (fit_kmeans(points, 16, seed, backend=backend) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class OnGpu(torch.Tensor):
    """A tensor that passes for one on a GPU."""

    is_cuda = True


def test_a_faiss_for_the_cpu_refuses_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    with pytest.raises(InputError, match=r"backend faiss: .* cannot use a GPU; install faiss-gpu"):
        fit_kmeans(blobs().as_subclass(OnGpu), 6, 0, backend="faiss")


@pytest.mark.parametrize("backend", ["auto", "torch", "faiss"])
def test_a_gpu_finds_the_clusters_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    """With a stand-in for faiss's GPU; ``test_cuda.py`` has the real one."""

    def knn_gpu(_: object, queries: torch.Tensor, vectors: torch.Tensor, k: int) -> object:
        return torch.cdist(queries, vectors).square().topk(k, largest=False)

    monkeypatch.setitem(sys.modules, "faiss.contrib.torch_utils", MagicMock())
    monkeypatch.setattr(faiss, "StandardGpuResources", MagicMock, raising=False)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    points = blobs()
    found = fit_kmeans(points.as_subclass(OnGpu), 6, 3, backend=backend)
    assert torch.allclose(found.as_subclass(torch.Tensor), fit_kmeans(points, 6, 3), atol=1e-4)


def test_assigns_the_nearest_centroid_of_each_clustering() -> None:
    points, centroids = blobs(500), torch.randn(3, 7, 5)
    expected = torch.stack([torch.cdist(points, c).argmin(dim=1) for c in centroids], dim=1)
    assert torch.equal(assign(points, centroids), expected)
    assert torch.equal(nearest(points, centroids), expected)
    assert torch.equal(nearest(points, centroids, bound=3 * 7 * 33), expected)
    assert assign(points[:0], centroids).shape == (0, 3)
    assert nearest(points[:0], centroids).shape == (0, 3)


def test_threads_of_faiss_are_given_back() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    fit_kmeans(blobs(100), 2, seed=0)
    assert faiss.omp_get_max_threads() == 2
    faiss.omp_set_num_threads(before)


def test_side_by_side_as_one_by_one() -> None:
    before = torch.get_num_threads()
    points = torch.randn(5000, 24, generator=torch.Generator().manual_seed(1))
    jobs = [KMeansJob(points, 3), KMeansJob(points * 2, 4), KMeansJob(points, 5, points[:16])]
    try:
        torch.set_num_threads(2)
        found = fit_clusterings(jobs, 16)
    finally:
        torch.set_num_threads(before)
    for job, each in zip(jobs, found, strict=True):
        assert torch.equal(each, fit_kmeans(job.points, 16, job.seed, init=job.init))
    assert fit_clusterings([], 16) == []  # of a process to which none falls


def test_side_by_side_an_error_is_raised() -> None:
    with pytest.raises(InputError, match="16 clusters of 8 pixels"):
        fit_clusterings([KMeansJob(torch.randn(8, 2), 0)] * 2, 16)


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


@pytest.mark.parametrize("module", ["SimpleITK", "faiss.contrib.torch_utils"])
def test_works_beside_what_changes_faiss(module: str) -> None:
    """SimpleITK wraps std::vector<float>, too; the other makes some of faiss return tensors."""
    code = (
        f"import torch, {module}; from wsseg.clustering.kmeans import assign, fit_kmeans; "
        "points = torch.randn(200, 3); start = fit_kmeans(points, 4, 0, 3); "
        "found = fit_kmeans(points, 4, 0, 3, start); "
        "print(found.shape, assign(points, found[None]).shape)"
    )
    root = Path(__file__).resolve().parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert "[4, 3]" in shown.stdout
    assert "[200, 1]" in shown.stdout


@pytest.mark.parametrize("backend", ["faiss", "torch"])
@pytest.mark.parametrize("points", ["constant", "two values", "distinct"])
@pytest.mark.parametrize("spare", [0, 1])
def test_about_as_many_clusters_as_points(backend: Backend, points: str, spare: int) -> None:
    """And fewer different points than clusters: every centroid is still where a point is."""
    count = 20
    given = torch.arange(count).float()[:, None].repeat(1, 3)
    given = {"constant": given * 0 + 7, "two values": given % 2, "distinct": given}[points]
    centroids = fit_kmeans(given, count - spare, seed=0, backend=backend)
    assert centroids.isfinite().all()
    distance = torch.cdist(given, centroids).amin(dim=1)
    assert distance.max() <= (0.9 if spare and points == "distinct" else 1e-3)
