"""Checks of what modules, loaders and scorers give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import ClusterStatistics


def check_tags(statistics: ClusterStatistics, slices: int) -> None:
    """Refuse slices that cannot tell a class from anything.

    Args:
        statistics: Of all training slices, or of some.
        slices: How many there are in all.

    Raises:
        ClusteringError: A class has no tagged or no untagged slice.
    """
    for number, counts in enumerate(statistics.total.tolist()):
        for count, kind in zip(counts, ("untagged", "tagged"), strict=True):
            if count == 0:
                some = f" among the {sum(counts):.0f} that were looked at (evidence_slices)"
                raise ClusteringError(
                    f"no training slice is {kind} for class {number}"
                    f"{some if sum(counts) < slices else ''}; clustering needs tagged and"
                    " untagged slices of every class, add some or leave the class out"
                )


def check_scores(scores: Tensor, statistics: ClusterStatistics) -> Tensor:
    """Return what a scorer gave, if it is what scorers must give.

    Args:
        scores: Should be [R, K, C] in [0, 1].
        statistics: What they were made from.

    Raises:
        ClusteringError: They have another shape or other values.
    """
    expected = tuple(statistics.slices.shape[:-1])
    if tuple(scores.shape) != expected:
        raise ClusteringError(f"scorer: returned {tuple(scores.shape)}; return {expected}")
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ClusteringError("scorer: returned values outside [0, 1]; return probabilities")
    return scores.float()


def check_batch(batch: Any) -> None:
    """Refuse a training batch that maps cannot be attached to.

    Args:
        batch: What the training loader serves.

    Raises:
        ClusteringError: It is no dictionary, or has no ``index``.
    """
    if not isinstance(batch, dict):
        raise ClusteringError(
            f"the training loader serves {type(batch).__name__}; serve a dictionary, cluster maps "
            "are added to it"
        )
    if not isinstance(batch.get("index"), Tensor):
        raise ClusteringError(
            "training batches have no tensor `index`; add the ids [B] of their slices, from 0"
        )


def check_pixels(source: EmbeddingSource, clusters: int) -> None:
    """Embed slices until there is a pixel for each cluster, which is soon.

    Args:
        source: Embeds the training slices.
        clusters: Wanted number of clusters.

    Raises:
        ClusteringError: There are fewer pixels, or the module's embeddings are unusable.
    """
    pixels = 0
    for embeddings in source(range(len(source))):
        pixels += int(embeddings.valid.sum())
        if pixels >= clusters:
            return
    raise ClusteringError(
        f"n_clusters is {clusters}, the training slices have {pixels} valid pixels; lower "
        "n_clusters or give more slices"
    )


def check_distinct(index: Tensor) -> None:
    """Refuse slices that share an id.

    Args:
        index: [n].

    Raises:
        ClusteringError: Two do.
    """
    values, counts = torch.unique(index, return_counts=True)
    if bool((counts > 1).any()):
        raise ClusteringError(
            f"two training slices share the index {int(values[counts > 1][0])}; give every "
            "slice its own `index`"
        )
