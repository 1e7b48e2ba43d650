"""The parts of k-means on a GPU that need none, and which path is taken."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import faiss
import pytest
import torch

from tests.clustering.test_kmeans import blobs
from wsseg.clustering import kmeans
from wsseg.clustering.kmeans import fit_kmeans, random_rows
from wsseg.clustering.lloyd import ROWS, cluster_sums, lloyd, moved, torch_search


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_equals_faiss_on_the_cpu(seed: int) -> None:
    """From the same random points: a run on a GPU finds the clusters of one on the CPU."""
    points = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1))
    start = points[random_rows(faiss, len(points), 16, seed)]
    found = lloyd(points, start, 8, torch_search(points))
    assert torch.allclose(found, fit_kmeans(points, 16, seed, 8), atol=1e-4)


def test_torch_finds_the_nearest_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points, centroids = blobs(100), torch.randn(7, 5)
    monkeypatch.setattr("wsseg.clustering.lloyd.CHUNK", 7 * 33)
    labels, distances = torch_search(points)(centroids)
    exact = torch.cdist(points, centroids).square()
    assert torch.equal(labels, exact.argmin(dim=1))
    assert torch.allclose(distances, exact.amin(dim=1), atol=1e-3)


@pytest.mark.parametrize("count", [1, ROWS, 2 * ROWS + 5])
def test_sums_of_parts_are_those_of_all(count: int) -> None:
    points, labels = torch.randn(count, 3), torch.arange(count) % 5
    counts, sums = cluster_sums(points, labels, 6)
    assert counts.tolist() == torch.bincount(labels, minlength=6).tolist()
    expected = torch.zeros(6, 3).index_add_(0, labels, points)
    assert torch.allclose(sums, expected, atol=1e-3)


def test_empty_clusters_move_to_far_points() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [20.0]])
    labels, distances = torch.zeros(4).long(), torch.tensor([0.0, 1.0, 100.0, 400.0])
    found = moved(points, labels, distances, torch.zeros(3, 1))
    assert found[:, 0].tolist() == [7.75, 20.0, 10.0]


class FakeGpu:
    """What kmeans asks of a faiss that was built for GPUs."""

    GpuDistanceParams = SimpleNamespace

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def StandardGpuResources(self) -> Any:  # noqa: N802 - faiss's name
        return SimpleNamespace(
            setTempMemory=lambda size: self.told.update(memory=size),
            setPinnedMemory=lambda size: self.told.update(pinned=size),
            setDefaultStream=lambda number, stream: self.told.update(stream=(number, stream)),
        )

    def cast_integer_to_cudastream_t(self, stream: int) -> str:
        return f"stream {stream}"

    def cast_integer_to_float_ptr(self, address: int) -> int:
        return address

    cast_integer_to_idx_t_ptr = cast_integer_to_float_ptr

    def bfKnn(self, resources: Any, task: Any) -> None:  # noqa: N802 - faiss's name
        self.told.update(vars(task))


class OnGpu(torch.Tensor):
    """A tensor that passes for one of the third GPU."""

    device = torch.device("cuda", 2)


def test_a_rank_uses_its_own_gpu_and_little_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss is given the addresses of torch's memory, and waits in torch's stream."""
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    stream = SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch, "empty", lambda count, **_: torch.zeros(count))
    fake, centroids = FakeGpu(), torch.zeros(4, 5)
    points = torch.zeros(3, 5).as_subclass(OnGpu)
    labels, distances = kmeans.gpu_search(fake, points)(centroids)
    assert fake.told == {
        "memory": kmeans.TEMPORARY_BYTES,
        "pinned": 0,
        "stream": (2, "stream 7"),
        "device": 2,
        "k": 1,
        "dims": 5,
        "numQueries": 3,
        "queries": points.data_ptr(),
        "numVectors": 4,
        "vectors": centroids.data_ptr(),
        "outDistances": distances.data_ptr(),
        "outIndices": labels.data_ptr(),
    }
    assert kmeans.has_gpu(fake)
    assert not kmeans.has_gpu(SimpleNamespace())
