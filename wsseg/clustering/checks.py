"""Checks of the output of modules, loaders and scorers, with errors that say what to change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.slices import KnownSlices, TrainingSlices, told
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import ClusterStatistics
from wsseg.utils.distributed import Collective
from wsseg.utils.errors import InputError

# The file of maps has a row for every id up to the highest, and checkpoints read the whole file.
MOST_IDS = 10**6
IDS_PER_SLICE = 1000  # allowed beyond that: a small subset of a data set keeps the ids of the whole

ROUNDING = 1e-3  # by which normalised activations may leave [0, 1]


def check_tags(statistics: ClusterStatistics, slices: int) -> None:
    """Refuse classes that have no tagged or no untagged slice to compare.

    Args:
        statistics: Statistics of the evidence.
        slices: Number of all training slices.

    Raises:
        InputError: A class has no tagged or no untagged slice.
    """
    for number, counts in enumerate(statistics.total.tolist()):
        some = f" among the {sum(counts):.0f} that were looked at (evidence_slices)"
        _check_counts(number, counts, some if sum(counts) < slices else "")


def check_scores(scores: Tensor, statistics: ClusterStatistics) -> Tensor:
    """Check the shape and range of scores, and return them as float32.

    Args:
        scores: Return value of a scorer; should be [R, K, C] in [0, 1].
        statistics: The statistics that the scorer was called with.

    Raises:
        InputError: They have another shape or values outside [0, 1].

    Example:
        >>> from wsseg.clustering.statistics import empty_statistics
        >>> statistics = empty_statistics(clusterings=1, clusters=2, classes=1)
        >>> check_scores(torch.full((1, 2, 1), 2.0), statistics)
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: scorer: returned values outside [0, 1]; ...
    """
    expected = tuple(statistics.slices.shape[:-1])
    if tuple(scores.shape) != expected:
        raise InputError(f"scorer: returned {tuple(scores.shape)}; return {expected}")
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise InputError("scorer: returned values outside [0, 1]; return probabilities")
    return scores.float()


def check_known(known: KnownSlices | None) -> None:
    """Refuse slices that cannot be clustered by what the data set says of them.

    Args:
        known: What the data set says of its slices; None if it says nothing.

    Raises:
        InputError: Two slices share an id, or a class has no tagged or no untagged slice.
    """
    if known is None:
        return
    check_distinct(known.index)
    for number, column in enumerate(known.tags.T):
        _check_counts(number, (int((column <= 0.5).sum()), int((column > 0.5).sum())))


def check_agreement(
    embeddings: PixelEmbeddings, known: KnownSlices, positions: Sequence[int]
) -> None:
    """Compare what a data set says of its slices with what a batch of them holds.

    Args:
        embeddings: The batch, embedded.
        known: What the data set says of all slices.
        positions: Positions of the batch's slices in the data set.

    Raises:
        InputError: Ids or tags differ.
    """
    rows = torch.tensor(positions)
    for name, stated, served in (
        ("index", known.index[rows], embeddings.index),
        ("tags", told(known.tags[rows]), told(embeddings.tags)),
    ):
        if served.shape != stated.shape or not torch.equal(
            served.cpu(), stated.to("cpu", served.dtype)
        ):
            raise InputError(
                f"the data set's tensor `{name}` is {stated[:4].tolist()} for its first slices, "
                f"but their batch has {served[:4].tolist()}; make them agree, or rename the tensor"
            )


def check_probabilities(activation: Tensor) -> None:
    """Refuse activations outside [0, 1], such as logits, from which scores would be wrong.

    Args:
        activation: Activation of some pixels, [n, C].

    Raises:
        InputError: A value is outside [0, 1] by more than ``ROUNDING``.
    """
    if activation.numel() == 0:
        return
    least, most = (float(end) for end in activation.aminmax())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise InputError(
            f"embed_pixels: `activation` goes from {least:.3g} to {most:.3g}; make it "
            "probabilities from 0 to 1, such as the sigmoid of logits"
        )


def check_same_slices(slices: TrainingSlices, first: int, collective: Collective) -> None:
    """Refuse processes with different training slices: each process maps a part of the same ones.

    Args:
        slices: The training slices of this process.
        first: Id of the first slice.
        collective: The processes; all must call this.

    Raises:
        InputError: The slices of some process differ.
    """
    fingerprint = slices.fingerprint(first)
    # The maximum differs from the minimum, which is minus the maximum of the negatives.
    if collective.maximum(fingerprint) + collective.maximum(-fingerprint):
        raise InputError(
            "the processes have different training slices; give all of them the same data set "
            "(Lightning's sampler shares it out), or ClusterReSupervision(dataloader=...) a loader "
            "over the slices of all processes"
        )


def check_pixels(source: EmbeddingSource, clusters: int) -> int:
    """Embed the first slices, until there are as many pixels as clusters, and check them.

    Args:
        source: Embeds the training slices.
        clusters: Number of clusters.

    Returns:
        The id of the first slice.

    Raises:
        InputError: There are fewer pixels than clusters, the module's embeddings are unusable, or
            ids or tags in a batch differ from those that the data set states.
    """
    pixels, most, seen = 0, max(MOST_IDS, IDS_PER_SLICE * len(source)), 0
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
        f"n_clusters is {clusters}, but the training slices have {pixels} valid pixels; lower "
        "n_clusters or give more slices"
    )


def check_distinct(index: Tensor) -> None:
    """Refuse slices that share an id.

    Args:
        index: Ids of slices, [n].

    Raises:
        InputError: Two slices share an id.
    """
    values, counts = torch.unique(index, return_counts=True)
    if bool((counts > 1).any()):
        raise InputError(
            f"two training slices share the index {int(values[counts > 1][0])}; give every "
            "slice its own `index`"
        )


def _check_counts(number: int, counts: Sequence[float], some: str = "") -> None:
    """Refuse a class without untagged or without tagged slices (the two counts)."""
    advice = "raise evidence_slices" if some else "add some or leave the class out"
    for count, kind in zip(counts, ("untagged", "tagged"), strict=True):
        if count == 0:
            raise InputError(
                f"no training slice is {kind} for class {number}{some}; clustering needs tagged "
                f"and untagged slices of every class, {advice}"
            )
