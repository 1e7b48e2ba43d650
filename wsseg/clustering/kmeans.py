"""K-means clustering and nearest centroids, by faiss or torch; only this module uses faiss."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.utils.errors import InputError

Backend = Literal["auto", "faiss", "torch"]
DISTANCES = 2**24  # distances that torch holds in memory at a time (64 MiB)
ROWS = 4096  # points that torch sums in one matrix product
FAISS_BYTES = 64 * 2**20  # GPU memory that faiss reserves, instead of 1.5 GiB by default


class KMeansJob(NamedTuple):
    """The input of one k-means clustering."""

    points: Tensor
    """[n, D] float32."""
    seed: int
    """Seed of the choice of the initial centroids."""
    init: Tensor | None = None
    """Initial centroids, [K, D]; by default random points."""


def fit_kmeans(
    points: Tensor,
    k: int,
    seed: int,
    iterations: int = 20,
    init: Tensor | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
) -> Tensor:
    """Cluster points by k-means (Lloyd, IEEE Transactions on Information Theory, 1982).

    The result depends only on the arguments. All backends start from the same points.

    Args:
        points: [n, D] float32, any device.
        k: Number of clusters.
        seed: Seed of the choice of initial centroids, and of where faiss on the CPU moves empty
            clusters.
        iterations: Number of iterations.
        init: Initial centroids, [k, D]; by default random points.
        backend: "faiss", "torch", or "auto" for the faster: on CPUs faiss, and on GPUs torch
            (faiss took 2 to 28 times as long on an NVIDIA H200).
        threads: Number of threads of faiss on the CPU; by default that of torch.

    Returns:
        Centroids [k, D] float32 on the device of the points.

    Raises:
        InputError: There are fewer points than clusters, a value is not finite, or faiss cannot use
            the GPU.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
        >>> fit_kmeans(points, k=2, seed=0, init=points[1:])
        tensor([[0., 1.], [9., 9.]])
    """
    if len(points) < k:
        raise InputError(
            f"{k} clusters of {len(points)} pixels: there are more clusters than pixels; "
            "lower n_clusters or give more or larger slices"
        )
    check_finite(points)
    by_faiss = not points.is_cuda if backend == "auto" else backend == "faiss"
    if by_faiss and not points.is_cuda:
        return _faiss_on_cpu(points, k, seed, iterations, init, threads)
    points = points.contiguous()
    centroids = _start(points, k, seed) if init is None else init.to(points).contiguous()
    search = _faiss_on_gpu if by_faiss else nearest
    for _ in range(iterations):
        centroids = _means(points, search(points, centroids[None])[:, 0], centroids)
    return centroids


def fit_clusterings(
    jobs: Sequence[KMeansJob], k: int, iterations: int = 20, backend: Backend = "auto"
) -> list[Tensor]:
    """Make several clusterings, on the CPU in parallel: faiss gains little from a second thread.

    Args:
        jobs: Inputs of the clusterings, all on the same device; may be empty.
        k: Number of clusters of each.
        iterations: Number of iterations.
        backend: See :func:`fit_kmeans`, whose results and errors are the same to the bit.

    Example:
        >>> jobs = [KMeansJob(torch.randn(100, 3), seed) for seed in range(2)]
        >>> [tuple(centroids.shape) for centroids in fit_clusterings(jobs, k=8)]
        [(8, 3), (8, 3)]
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(jobs))

    def fit(job: KMeansJob) -> Tensor:
        per_job = threads // workers
        return fit_kmeans(job.points, k, job.seed, iterations, job.init, backend, per_job)

    if workers < 2 or jobs[0].points.is_cuda:
        return [fit(job) for job in jobs]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(fit, jobs))


def assign(points: Tensor, centroids: Tensor) -> Tensor:
    """Return the nearest centroid of each point in each of several clusterings.

    The CPU uses faiss, which is 1.2 to 2.3 times faster than torch on one thread for 200,000 points
    of 16 to 64 dimensions and K of 64 to 128. A GPU uses torch.

    Args:
        points: [n, D] float32.
        centroids: [R, K, D] float32 on the same device.

    Returns:
        Labels [n, R] int64.

    Raises:
        InputError: A point is not finite.

    Example:
        >>> assign(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[[0.0], [6.0]]]))[:, 0]
        tensor([0, 0, 1])
    """
    check_finite(points)
    if points.is_cuda:
        return nearest(points, centroids)
    faiss, array = load_faiss(), _array(points)
    labels = np.empty((len(points), len(centroids)), np.int64)
    with _threads(faiss):
        for number, of_clustering in enumerate(centroids if len(points) else ()):
            index = faiss.IndexFlatL2(points.shape[1])
            index.add(_array(of_clustering))
            labels[:, number] = index.search(array, 1)[1][:, 0]
    return torch.from_numpy(labels)


def nearest(points: Tensor, centroids: Tensor, bound: int = DISTANCES) -> Tensor:
    """Return the same as :func:`assign`, computed by torch on any device.

    Args:
        points: [n, D] float32.
        centroids: [R, K, D] float32 on the same device.
        bound: Number of distances to hold in memory at a time.

    Returns:
        Labels [n, R] int64.
    """
    clusterings, k, dimension = centroids.shape
    flat = centroids.reshape(-1, dimension)
    offset = -0.5 * flat.square().sum(dim=1)
    # The least |p - c|^2 is the greatest p c - |c|^2 / 2.
    similarities = (
        torch.addmm(offset, part, flat.T).view(len(part), clusterings, k)
        for part in points.split(max(1, bound // len(flat)))
    )
    return torch.cat([part.max(dim=2).indices for part in similarities])


def check_finite(points: Tensor) -> None:
    """Raise an InputError if embeddings [n, D] hold NaN or infinite values."""
    # The sum is quick, but may overflow although all values are finite.
    if not bool(torch.isfinite(points.sum())) and not bool(torch.isfinite(points).all()):
        raise InputError(
            "the embeddings hold NaN or infinite values; look for images that do, too, lower the "
            "learning rate, or train in higher precision (32-true)"
        )


def load_faiss() -> Any:
    """Import faiss, after torch (the other way round crashes for some CUDA versions)."""
    try:
        return importlib.import_module("faiss")
    except (
        ImportError,
        RuntimeError,
    ) as error:  # GPU wheels raise RuntimeError if libraries are missing
        raise InputError(
            f"faiss cannot be imported ({error}); uninstall any other faiss wheel, then "
            "pip install faiss-cpu"
        ) from error


def _faiss_on_cpu(
    points: Tensor, k: int, seed: int, iterations: int, init: Tensor | None, threads: int | None
) -> Tensor:
    faiss = load_faiss()
    parameters = faiss.ClusteringParameters()
    parameters.niter, parameters.seed = iterations, seed % 2**31
    # By default faiss silently uses only 256 points per centroid, and prints if it has under 39.
    parameters.max_points_per_centroid, parameters.min_points_per_centroid = 2**31 - 1, 1
    clustering = faiss.Clustering(points.shape[1], k, parameters)
    if init is not None:
        # If SimpleITK was imported first, `clustering.centroids` is a vector of SimpleITK's, which
        # faiss refuses; so a new vector is assigned, and the result is read from the index.
        vector = faiss.Float32Vector()
        faiss.copy_array_to_vector(_array(init).ravel(), vector)
        clustering.centroids = vector
    index = faiss.IndexFlatL2(points.shape[1])
    with _threads(faiss, threads):
        clustering.train(_array(points), index)
    # Once its contrib.torch_utils was imported, faiss returns a tensor instead of an array.
    return torch.as_tensor(index.reconstruct_n(0, k)).to(points.device)


def _start(points: Tensor, k: int, seed: int) -> Tensor:
    """Return the initial centroids that faiss chooses on the CPU, for the other backends."""
    faiss, order = load_faiss(), np.empty(len(points), np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), len(points), seed % 2**31 + 1)
    return points[torch.from_numpy(order[:k].astype(np.int64))]


def _faiss_on_gpu(points: Tensor, centroids: Tensor) -> Tensor:
    """Return the same as :func:`nearest` for one clustering, computed by faiss on a GPU.

    Only the search, which is most of the work, is done by faiss: its k-means of tensors
    (``faiss.contrib.torch``) prints, takes no initial centroids, and sums in random order.
    """
    faiss, gpu = load_faiss(), points.get_device()
    if not hasattr(faiss, "StandardGpuResources"):
        raise InputError(
            "backend faiss: the faiss that is installed cannot use a GPU; install faiss-gpu-cuvs "
            "(CUDA 13) or faiss-gpu (CUDA 12) instead, or leave the backend at auto"
        )
    importlib.import_module("faiss.contrib.torch_utils")  # changes faiss globally, so only here
    with torch.cuda.device(gpu):
        labels: Tensor = faiss.knn_gpu(_faiss_memory(gpu), points, centroids[0], 1)[1]
    return labels


@lru_cache
def _faiss_memory(gpu: int) -> Any:  # noqa: ARG001 (the key of the cache)
    """Return the resources of faiss on a GPU, which are made once for each GPU."""
    resources = load_faiss().StandardGpuResources()
    resources.setTempMemory(FAISS_BYTES)
    resources.setPinnedMemory(0)  # for copies from the CPU, of which there are none
    return resources


def _means(points: Tensor, labels: Tensor, centroids: Tensor) -> Tensor:
    """Return the mean of each cluster; an empty one moves to one of the farthest points.

    Sums are matrix products: `index_add` sums in random order on a GPU. The points are divided into
    parts, since one product of few clusters and very many points leaves most of a GPU idle.
    """
    far = (points - centroids[labels]).square().sum(dim=1).topk(min(len(centroids), len(points)))
    k, parts = len(centroids), -(-len(points) // ROWS)
    missing = parts * ROWS - len(points)
    labels = F.pad(labels, (0, missing), value=-1).view(parts, 1, ROWS)
    member = (labels == torch.arange(k, device=points.device)[:, None]).to(points.dtype)
    sums = (member @ F.pad(points, (0, 0, 0, missing)).view(parts, ROWS, -1)).sum(dim=0)
    counts = member.sum(dim=(0, 2))[:, None]
    turn = (counts[:, 0] == 0).long().cumsum(0).sub(1).clamp_min(0)  # without waiting for the GPU
    return torch.where(counts > 0, sums / counts.clamp_min(1), points[far.indices[turn]])


@contextmanager
def _threads(faiss: Any, count: int | None = None) -> Iterator[None]:
    """Let faiss use as many threads as torch: launchers limit the threads of torch only."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _array(points: Tensor) -> np.ndarray:
    array: np.ndarray = points.detach().float().cpu().contiguous().numpy()
    return array
