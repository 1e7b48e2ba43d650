"""Checks of what modules, loaders and scorers give."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.slices import KnownSlices, TrainingSlices
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import ClusterStatistics
from wsseg.utils.distributed import Collective
from wsseg.utils.errors import InputError

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
        InputError: A class has no tagged or no untagged slice.
    """
    for number, counts in enumerate(statistics.total.tolist()):
        some = f" among the {sum(counts):.0f} that were looked at (evidence_slices)"
        _check_counts(number, counts, some if sum(counts) < slices else "")


def check_scores(scores: Tensor, statistics: ClusterStatistics) -> Tensor:
    """Return what a scorer gave, if it is what scorers must give.

    Args:
        scores: Should be [R, K, C] in [0, 1].
        statistics: What they were made from.

    Raises:
        InputError: They have another shape or other values.
    """
    expected = tuple(statistics.slices.shape[:-1])
    if tuple(scores.shape) != expected:
        raise InputError(f"scorer: returned {tuple(scores.shape)}; return {expected}")
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise InputError("scorer: returned values outside [0, 1]; return probabilities")
    return scores.float()


def check_known(known: KnownSlices | None) -> None:
    """Refuse slices that are known beforehand to be unfit for clustering.

    Args:
        known: What the data set tells of its slices, if it does.

    Raises:
        InputError: Two share an id, or a class has no tagged or no untagged slice.
    """
    if known is None:
        return
    check_distinct(known.index)
    for number, column in enumerate((known.tags > 0.5).T):
        tagged = int(column.sum())
        _check_counts(number, (len(column) - tagged, tagged))


def check_agreement(
    embeddings: PixelEmbeddings, known: KnownSlices, positions: Sequence[int]
) -> None:
    """Compare what a data set tells of its slices with their batch.

    Args:
        embeddings: Of the slices.
        known: What the data set tells.
        positions: Where these slices are in it.

    Raises:
        InputError: Ids or tags differ.
    """
    rows = torch.tensor(positions)
    for name, told, served in (
        ("index", known.index[rows], embeddings.index),
        ("tags", known.tags[rows] > 0.5, embeddings.tags > 0.5),
    ):
        if served.shape != told.shape or not torch.equal(
            served.cpu(), told.to("cpu", served.dtype)
        ):
            raise InputError(
                f"the data set's tensor `{name}` is {told[:4].tolist()} for its first slices, but "
                f"their batch has {served[:4].tolist()}; make them agree, or rename the tensor"
            )


def check_probable(activation: Tensor) -> None:
    """Refuse logits, with which scorers would quietly go astray.

    Args:
        activation: [n, C], should be in [0, 1].

    Raises:
        InputError: It is not, by more than rounding.
    """
    if activation.numel() == 0:
        return
    least, most = (float(end) for end in activation.aminmax())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise InputError(
            f"embed_pixels: `activation` goes from {least:.3g} to {most:.3g}; make it "
            "probabilities from 0 to 1, such as the sigmoid of logits"
        )


def check_common(slices: TrainingSlices, first: int, collective: Collective) -> None:
    """Refuse processes that have different slices: each maps a part of what all of them have.

    Args:
        slices: Of this process.
        first: Id of the first one.
        collective: The processes; all must call this.

    Raises:
        InputError: Some have other slices.
    """
    own = slices.fingerprint(first)
    if collective.maximum(own) + collective.maximum(-own):
        raise InputError(
            "the processes have different training slices; give all of them the same data set "
            "(Lightning's sampler shares it out), or ClusterReSupervision(dataloader=...) a loader "
            "over the slices of all processes"
        )


def check_pixels(source: EmbeddingSource, clusters: int) -> int:
    """Embed slices until there is a pixel for each cluster, which is soon.

    Args:
        source: Embeds the training slices.
        clusters: Wanted number of clusters.

    Returns:
        The id of the first slice.

    Raises:
        InputError: There are fewer pixels, the module's embeddings are unusable, or the data
            set tells other ids or tags of its slices than its batches hold.
    """
    pixels, most, seen = 0, max(MOST_IDS, SPARSEST * len(source)), 0
    first: int | None = None
    for embeddings in source.embed(range(len(source))):
        if source.known is not None:
            rows = range(seen, seen + len(embeddings.index))
            check_agreement(embeddings, source.known, rows)
            seen = rows.stop
        if (highest := int(embeddings.index.max())) >= most:
            raise InputError(
                f"a slice has the index {highest}, but there are {len(source)} slices; number them "
                "from 0 (hashes cannot be used), since the file of cluster maps has a row for each"
            )
        pixels += int(embeddings.valid.sum())
        first = int(embeddings.index[0]) if first is None else first
        if pixels >= clusters:
            return first
    raise InputError(
        f"n_clusters is {clusters}, the training slices have {pixels} valid pixels; lower "
        "n_clusters or give more slices"
    )


def check_distinct(index: Tensor) -> None:
    """Refuse slices that share an id.

    Args:
        index: [n].

    Raises:
        InputError: Two do.
    """
    values, counts = torch.unique(index, return_counts=True)
    if bool((counts > 1).any()):
        raise InputError(
            f"two training slices share the index {int(values[counts > 1][0])}; give every "
            "slice its own `index`"
        )


def _check_counts(number: int, counts: Sequence[float], some: str = "") -> None:
    """Refuse a class without untagged or without tagged slices."""
    advice = "raise evidence_slices" if some else "add some or leave the class out"
    for count, kind in zip(counts, ("untagged", "tagged"), strict=True):
        if count == 0:
            raise InputError(
                f"no training slice is {kind} for class {number}{some}; clustering needs tagged "
                f"and untagged slices of every class, {advice}"
            )
