"""Checks of what modules, loaders and scorers give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import ClusterStatistics

# A checkpoint reads the file of cluster maps through, rows that no slice has as well.
MOST_IDS = 10**6
SPARSEST = 1000  # ids for each slice where there are more: a subset of a set may be small

ROUNDING = 1e-3  # of normalised activations


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


def check_probable(activation: Tensor) -> None:
    """Refuse logits, with which scorers would quietly go astray.

    Args:
        activation: [n, C], should be in [0, 1].

    Raises:
        ClusteringError: It is not, by more than rounding.
    """
    if activation.numel() == 0:
        return
    least, most = (float(end) for end in activation.aminmax())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise ClusteringError(
            f"embed_pixels: `activation` goes from {least:.3g} to {most:.3g}; make it "
            "probabilities from 0 to 1, such as the sigmoid of logits"
        )


def check_pixels(source: EmbeddingSource, clusters: int) -> None:
    """Embed slices until there is a pixel for each cluster, which is soon.

    Args:
        source: Embeds the training slices.
        clusters: Wanted number of clusters.

    Raises:
        ClusteringError: There are fewer pixels, or the module's embeddings are unusable.
    """
    pixels, most = 0, max(MOST_IDS, SPARSEST * len(source))
    for embeddings in source(range(len(source))):
        if (highest := int(embeddings.index.max())) >= most:
            raise ClusteringError(
                f"a slice has the index {highest}, but there are {len(source)} slices; number them "
                "from 0 (hashes will not do), since the file of cluster maps has a row for each"
            )
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
