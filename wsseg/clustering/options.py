"""The options of clustering."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import get_args

from wsseg.clustering.kmeans import Backend
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class ClusteringOptions:
    """How clusters are formed, and how their scores become maps.

    Attributes:
        n_clusters: Number of clusters of each clustering (K).
        n_clusterings: Number of clusterings, which differ in their seeds and views and whose votes
            are averaged (R); the views repeat after four.
        evidence_slices: Largest number of slices that clusters are formed and scored from.
        sample_size: Largest number of pixels for k-means. More gain nothing: with 64 clusters of
            MRI intensities, 50,000 and 200,000 leave the same variance within clusters (0.787,
            0.783).
        iterations: Iterations of k-means; the variance left within clusters is 0.83 after 5 and
            0.78 after 20.
        smoothing: Width in pixels of the Gaussian that smooths relevance, within slices and, where
            their depth is known, across them; up to twice as wide where scores are low.
        seed: Seed of the choice of the evidence's slices and of the initial centroids of k-means.
        backend: Library for k-means: "faiss", "torch", or "auto" for the faster one, which is faiss
            on CPUs and torch on GPUs (faiss took 2 to 28 times as long on an NVIDIA H200).
        within_slices: Divide each slice into regions by its own intensities, once, instead of
            forming clusters of the whole data set; all options above are then not used. By default
            what the ``clusters_within_slices`` of the module says, if it has that.

    Example:
        >>> ClusteringOptions(n_clusters=16).n_clusterings
        8
    """

    n_clusters: int = 64
    n_clusterings: int = 8
    evidence_slices: int = 512
    sample_size: int = 50_000
    iterations: int = 20
    smoothing: float = 0.5
    seed: int = 0
    backend: Backend = "auto"
    within_slices: bool | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            InputError: A value is out of range; the message names it.
        """
        for name, least in (
            ("n_clusters", 1),
            ("n_clusterings", 1),
            ("evidence_slices", 2),
            ("sample_size", self.n_clusters),
            ("iterations", 1),
            ("smoothing", 0),
        ):
            value = getattr(self, name)
            if not (isfinite(value) and value >= least):
                raise InputError(f"clustering.{name} {value}: must be at least {least}")
            if name != "smoothing" and value != int(value):
                raise InputError(f"clustering.{name} {value}: must be a whole number")
        if self.backend not in get_args(Backend):
            choices = ", ".join(get_args(Backend))
            raise InputError(f"clustering.backend {self.backend}: must be one of {choices}")
