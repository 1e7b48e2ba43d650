"""The parts of k-means on a GPU that need none, and which path is taken."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import faiss
import pytest
import torch

from wsseg.clustering import kmeans
from wsseg.clustering.kmeans import fit_kmeans, pointer_search
from wsseg.clustering.lloyd import lloyd, moved


def blobs(count: int = 3000) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    centres = 8 * torch.randn(6, 5, generator=draw)
    return centres[torch.arange(count) % 6] + torch.randn(count, 5, generator=draw)


def test_addresses_of_tensors_serve_faiss() -> None:
    """faiss reads and writes torch's memory; here the CPU's, on a GPU the same calls."""
    points, centroids = blobs(), torch.randn(7, 5)
    labels, distances = pointer_search(faiss, faiss.IndexFlatL2(5), points)(centroids)
    exact = torch.cdist(points, centroids).square()
    assert torch.equal(labels, exact.argmin(dim=1))
    assert torch.allclose(distances, exact.amin(dim=1), atol=1e-3)


def test_equals_faiss_from_the_same_start() -> None:
    points = blobs()
    search = pointer_search(faiss, faiss.IndexFlatL2(5), points)
    found = lloyd(points, 6, 0, 5, points[:6], search)
    assert torch.allclose(found, fit_kmeans(points, 6, 0, 5, points[:6]), atol=1e-4)


def test_same_seed_same_centroids_other_seed_others() -> None:
    points = torch.randn(2000, 5, generator=torch.Generator().manual_seed(1))
    search = pointer_search(faiss, faiss.IndexFlatL2(5), points)
    first, again, other = (lloyd(points, 16, seed, 5, None, search) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_empty_clusters_move_to_far_points() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [20.0]])
    labels, distances = torch.zeros(4).long(), torch.tensor([0.0, 1.0, 100.0, 400.0])
    found = moved(points, labels, distances, torch.zeros(3, 1))
    assert found[:, 0].tolist() == [7.75, 20.0, 10.0]


class FakeGpu:
    """What kmeans asks of a faiss that was built for GPUs."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.GpuIndexFlatConfig = SimpleNamespace
        self.GpuIndexFlatL2 = lambda _resources, _dimension, config: config

    def StandardGpuResources(self) -> Any:  # noqa: N802 - faiss's name
        return SimpleNamespace(
            setTempMemory=lambda size: self.told.update(memory=size),
            setPinnedMemory=lambda size: self.told.update(pinned=size),
            setDefaultStream=lambda number, stream: self.told.update(stream=(number, stream)),
        )

    def cast_integer_to_cudastream_t(self, stream: int) -> str:
        return f"stream {stream}"


@pytest.mark.parametrize(("device", "expected"), [("cuda:3", 3), ("cuda", 1)])
def test_a_rank_uses_its_own_gpu_and_little_of_it(
    monkeypatch: pytest.MonkeyPatch, device: str, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    stream = SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    fake = FakeGpu()
    config, _ = kmeans._gpu_index(fake, 5, torch.device(device))
    assert config.device == expected
    assert fake.told == {
        "memory": kmeans.TEMPORARY_BYTES,
        "pinned": 0,
        "stream": (expected, "stream 7"),
    }


def test_a_faiss_for_the_cpu_is_mentioned_once() -> None:
    kmeans._warn_cpu_only.cache_clear()
    with pytest.warns(UserWarning, match="install a faiss-gpu wheel"):
        assert not kmeans._has_gpu(SimpleNamespace())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not kmeans._has_gpu(SimpleNamespace())
        assert kmeans._has_gpu(FakeGpu())
