"""K-means and nearest centroids: the only module that knows faiss."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsseg.clustering.lloyd import Search, lloyd, nearest, torch_search
from wsseg.utils.errors import InputError

TEMPORARY_BYTES = 64 * 2**20  # faiss would take 1.5 GiB of a GPU by default


class Clustering(NamedTuple):
    """One of several clusterings to make."""

    points: Tensor
    """[n, D] float32."""
    seed: int
    """Chooses the starting points."""
    init: Tensor | None = None
    """Centroids to start from, [K, D]; random points by default."""


def fit_kmeans(
    points: Tensor,
    k: int,
    seed: int,
    iterations: int = 20,
    init: Tensor | None = None,
    threads: int | None = None,
) -> Tensor:
    """Cluster points by Lloyd's algorithm.

    The result depends on nothing but the arguments. Points on a GPU are clustered there, from the
    same start: by faiss if its wheel for GPUs is installed, else by torch.

    Args:
        points: [n, D] float32, any device.
        k: Number of clusters.
        seed: Chooses the starting points and where empty clusters move.
        iterations: Lloyd steps.
        init: Centroids to start from, [k, D]; random points by default.
        threads: Of faiss on the CPU; by default as many as torch's.

    Returns:
        Centroids [k, D] float32 on the device of the points.

    Raises:
        InputError: Fewer points than clusters, or a value is not finite.
    """
    if len(points) < k:
        raise InputError(
            f"{k} clusters of {len(points)} pixels: there are fewer pixels than clusters; "
            "lower n_clusters or give more or larger slices"
        )
    check_finite(points)
    faiss = load_faiss()
    if points.is_cuda:
        points = points.contiguous()
        search = gpu_search(faiss, points) if has_gpu(faiss) else torch_search(points)
        start = points[random_rows(faiss, len(points), k, seed)] if init is None else init
        return lloyd(points, start, iterations, search)
    clustering = faiss.Clustering(points.shape[1], k, _parameters(faiss, seed, iterations))
    if init is not None:
        # Vectors are made by faiss and read from the index: where SimpleITK was imported first,
        # `clustering.centroids` comes as SimpleITK's vector, which faiss refuses.
        vector = faiss.Float32Vector()
        faiss.copy_array_to_vector(_array(init).ravel(), vector)
        clustering.centroids = vector
    with _threads(faiss, threads):
        index = faiss.IndexFlatL2(points.shape[1])
        clustering.train(_array(points), index)
        centroids = index.reconstruct_n(0, k)
    return torch.from_numpy(centroids).to(points.device)


def fit_clusterings(jobs: Sequence[Clustering], k: int, iterations: int = 20) -> list[Tensor]:
    """Cluster several times, on the CPU side by side: faiss gains little from a second thread.

    Args:
        jobs: What to cluster, all on the same device.
        k: Number of clusters of each.
        iterations: Lloyd steps.

    Returns:
        What :func:`fit_kmeans` returns for each, to the bit.

    Raises:
        InputError: Fewer points than clusters, or a value is not finite.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(jobs))
    if workers < 2 or jobs[0].points.is_cuda:
        return [fit_kmeans(job.points, k, job.seed, iterations, job.init) for job in jobs]

    def fit(job: Clustering) -> Tensor:
        return fit_kmeans(job.points, k, job.seed, iterations, job.init, threads // workers)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(fit, jobs))


def assign(points: Tensor, centroids: Tensor) -> Tensor:
    """Return the nearest centroid of each point in each of several clusterings.

    On the CPU faiss does it: 1.2 to 2.3 times faster than torch on one thread for 200,000 points
    of 16 to 64 dimensions and K of 64 to 128. On a GPU torch does it, where the points are.

    Args:
        points: [n, D] float32.
        centroids: [R, K, D] float32 on the same device.

    Returns:
        Labels [n, R] int64.

    Raises:
        InputError: A point is not finite.
    """
    check_finite(points)
    return nearest(points, centroids)[0] if points.is_cuda else _assign_faiss(points, centroids)


def assign_features(features: Tensor, mean: Tensor, std: Tensor, centroids: Tensor) -> Tensor:
    """Return the nearest centroids of embeddings as a module gives them.

    Args:
        features: [n, D] float32.
        mean: Of the sample that was clustered, [D].
        std: Its standard deviation, [D].
        centroids: In units of these, [R, K, D]. All three may be on another device: a process
            that had no part in the sample has its clusters on the CPU, but slices to map.

    Returns:
        Labels [n, R] int64.
    """
    mean, std, centroids = (each.to(features.device) for each in (mean, std, centroids))
    return assign((features - mean) / std, centroids)


def check_finite(points: Tensor) -> None:
    """Refuse embeddings that hold anything but numbers.

    Args:
        points: [n, D].

    Raises:
        InputError: A value is not finite.
    """
    # A sum is quick, but may overflow where no value is infinite.
    if not bool(torch.isfinite(points.sum())) and not bool(torch.isfinite(points).all()):
        raise InputError(
            "the embeddings hold NaN or infinite values; lower the learning rate, or train in "
            "higher precision (32-true)"
        )


def load_faiss() -> Any:
    """Import faiss, after torch (the other way round crashes for some CUDA versions)."""
    try:
        return importlib.import_module("faiss")
    except (ImportError, RuntimeError) as error:  # wheels for GPUs check what they need
        raise InputError(
            f"faiss cannot be imported ({error}); uninstall any other faiss wheel, then "
            "pip install faiss-cpu"
        ) from error


def _parameters(faiss: Any, seed: int, iterations: int) -> Any:
    parameters = faiss.ClusteringParameters()
    parameters.niter = iterations
    parameters.seed = seed % 2**31
    # Else faiss silently trains on 256 points per centroid, and prints when there are under 39.
    parameters.max_points_per_centroid = 2**31 - 1
    parameters.min_points_per_centroid = 1
    return parameters


def random_rows(faiss: Any, count: int, k: int, seed: int) -> Tensor:
    """Return the points that faiss on the CPU starts from, so that a GPU finds the same clusters.

    Args:
        faiss: The package.
        count: Number of points.
        k: Number of clusters.
        seed: Chooses them.

    Returns:
        [k] int64.
    """
    order = np.empty(count, np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), count, seed % 2**31 + 1)
    return torch.from_numpy(order[:k].astype(np.int64))


def has_gpu(faiss: Any) -> bool:
    """Return whether faiss was built for GPUs."""
    return hasattr(faiss, "StandardGpuResources")


def gpu_search(faiss: Any, points: Tensor) -> Search:
    """Return faiss's search, which reads tensors on a GPU where they are, without a copy.

    By brute force: an index would take and give back memory whenever the centroids move.

    Args:
        faiss: The package.
        points: [n, D] float32, contiguous.
    """
    labels = torch.empty(len(points), dtype=torch.int64, device=points.device)
    distances = torch.empty(len(points), device=points.device)
    device = points.device.index
    resources = _resources(faiss, device)
    # On the stream of torch, so that neither reads what the other has not written yet.
    stream = torch.cuda.current_stream(device).cuda_stream
    resources.setDefaultStream(device, faiss.cast_integer_to_cudastream_t(stream))
    task = faiss.GpuDistanceParams()
    task.device, task.k, task.dims = device, 1, points.shape[1]
    task.numQueries, task.queries = len(points), _address(faiss, points)
    task.outDistances = _address(faiss, distances)
    task.outIndices = faiss.cast_integer_to_idx_t_ptr(labels.data_ptr())

    def search(centroids: Tensor) -> tuple[Tensor, Tensor]:
        task.numVectors, task.vectors = len(centroids), _address(faiss, centroids)
        faiss.bfKnn(resources, task)
        return labels, distances

    return search


@lru_cache
def _resources(faiss: Any, device: int) -> Any:
    """Return what faiss needs on a GPU, made once."""
    with torch.cuda.device(device):
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(TEMPORARY_BYTES)
        resources.setPinnedMemory(0)  # for copies from the host, of which there are none
    return resources


def _address(faiss: Any, tensor: Tensor) -> Any:
    return faiss.cast_integer_to_float_ptr(tensor.data_ptr())


@contextmanager
def _threads(faiss: Any, count: int | None = None) -> Iterator[None]:
    """Let faiss use as many threads as torch: launchers limit torch's per process, not faiss's."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _array(points: Tensor) -> np.ndarray:
    array: np.ndarray = points.detach().float().cpu().contiguous().numpy()
    return array


def _assign_faiss(points: Tensor, centroids: Tensor) -> Tensor:
    faiss = load_faiss()
    labels = np.empty((len(points), len(centroids)), np.int64)
    if len(points) == 0:
        return torch.from_numpy(labels)
    array = _array(points)
    with _threads(faiss):
        for number, each in enumerate(centroids):
            index = faiss.IndexFlatL2(points.shape[1])
            index.add(_array(each))
            labels[:, number] = index.search(array, 1)[1][:, 0]
    return torch.from_numpy(labels)
