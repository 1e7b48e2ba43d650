"""Writes the cluster maps: relevance for the pixels of tagged slices, 0 for untagged slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.deviation import compare
from wsseg.clustering.dominance import dominant
from wsseg.clustering.embeddings import PixelEmbeddings, feature_pixels
from wsseg.clustering.kmeans import assign_features
from wsseg.clustering.relevance import Verdict, relevance_map
from wsseg.clustering.store import ClusterMaps
from wsseg.clustering.targets import IGNORE, blend, to_targets
from wsseg.utils.errors import InputError
from wsseg.utils.smoothing import blur_across

ROWS = 256  # maps of untagged slices that are written at a time


class SliceMaps(NamedTuple):
    """What was found in some slices."""

    index: Tensor  # type: ignore[assignment]  # [S] int64, the ids of the slices
    tags: Tensor
    """[S, C], 0 or 1."""
    relevance: Tensor
    """[S, C, h, w]; the others are on the CPU."""


@dataclass(frozen=True)
class MapMaker:
    """Turns embeddings into maps of relevance.

    Attributes:
        assign: Gives features [n, D] their labels [n, R].
        verdict: Of the clusters.
        norms: What is normal at each place, see :func:`~wsseg.clustering.deviation.norm`.
        smoothing: Width of the Gaussian that smooths the maps in all directions, in pixels.
        low: Threshold of irrelevance.
        dominance: Which regions are kept, see :func:`~wsseg.clustering.dominance.dominant`.
    """

    assign: Callable[[Tensor], Tensor]
    verdict: Verdict
    norms: Tensor
    smoothing: float
    low: float
    dominance: float

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> MapMaker:
        """Return what makes maps by the clusters in a checkpoint.

        Args:
            state: That of ``ClusterReSupervision``.
        """
        made_of = {name: state[name] for name in ("mean", "std", "centroids")}
        return cls(
            partial(assign_features, **made_of),
            Verdict.of(state),
            state["norms"],
            float(state["smoothing"]),
            state["low"],
            state["dominance"],
        )

    def __call__(self, batch: PixelEmbeddings) -> SliceMaps:
        """Return the relevance in each slice of a batch on its own."""
        batch = compare(batch, self.norms)
        labels = self.assign(feature_pixels(batch, batch.valid.nonzero()))
        valid, tags = batch.valid.to(labels.device), batch.tags.to(labels.device)
        relevance = relevance_map(labels, valid, self.verdict, tags, self.smoothing)
        return SliceMaps(batch.index.cpu(), batch.tags.cpu(), relevance)

    def settle(self, slices: SliceMaps, depth: Tensor | None) -> Tensor:
        """Return the final maps of slices.

        Args:
            slices: What was found in each slice on its own.
            depth: Where they lie along one body, in pixels, [S]: then they are smoothed along it.
                Those without a class say nothing about where it is in others.

        Returns:
            [S, C, h, w] on the CPU.
        """
        relevance = slices.relevance
        if depth is not None:
            tags = slices.tags.to(relevance.device)
            known = (relevance > IGNORE) & (tags > 0.5)[:, :, None, None]
            relevance = blur_across(relevance, known, depth, self.smoothing)
        return dominant(relevance.cpu(), self.low, self.dominance)


def regroup(parts: Iterable[SliceMaps], sizes: Iterable[int]) -> Iterator[SliceMaps]:
    """Regroup slices, in order and holding no more of them than it takes.

    Args:
        parts: The slices, in parts of any size.
        sizes: How many slices to put together, one after the other.
    """
    coming = iter(parts)
    kept: list[SliceMaps] = []
    for size in sizes:
        while sum(len(part.index) for part in kept) < size:
            kept.append(next(coming))
        joined = SliceMaps(*map(torch.cat, zip(*kept, strict=True)))
        yield SliceMaps(*(part[:size] for part in joined))
        kept = [SliceMaps(*(part[size:] for part in joined))]


class MapWriter:
    """Writes maps slice by slice; nothing that it holds grows with the pixels."""

    def __init__(
        self, maps: ClusterMaps, make: MapMaker, old: ClusterMaps | None, momentum: float
    ) -> None:
        """Name what is written where.

        Args:
            maps: Where to.
            make: Makes maps.
            old: The last refresh's maps.
            momentum: Their weight in the new ones.
        """
        self._maps = maps
        self._make = make
        self._old = old
        self._momentum = momentum
        self._seen = [torch.empty(0, dtype=torch.int64)]

    @property
    def index(self) -> Tensor:
        """The ids of the slices that were written, [n]."""
        return torch.cat(self._seen)

    def write_untagged(self, index: Tensor) -> None:
        """Write that nothing is relevant in some slices.

        Args:
            index: Their ids, [n].
        """
        for part in index.split(ROWS) if len(index) else ():
            self._maps.write(part, torch.zeros(len(part), *self._maps.shape[1:]))
        self._seen.append(index.cpu())

    def write(self, batches: Iterable[PixelEmbeddings], changes: Changes) -> None:
        """Write the maps of all batches, each slice on its own.

        Args:
            batches: The slices.
            changes: Counts how the maps differ from the old ones.

        Raises:
            InputError: Slices differ in shape.
        """
        for batch in batches:
            tagged = (batch.tags > 0.5).any(dim=1)
            self.write_untagged(batch.index[~tagged])
            if bool(tagged.any()):
                self._settle(self._relevance(batch.of(tagged)), None, changes)

    def write_bodies(
        self, batches: Iterable[PixelEmbeddings], depths: Sequence[Tensor], changes: Changes
    ) -> None:
        """Write the maps of tagged slices, those of a body together.

        Args:
            batches: The slices, body after body and in order along each; where one batch ends and
                the next begins does not matter.
            depths: Where the slices of each body lie along it, in pixels, [S] each.
            changes: Counts how the maps differ from the old ones.

        Raises:
            InputError: Slices differ in shape.
        """
        parts = map(self._relevance, batches)
        bodies = regroup(parts, map(len, depths))
        for body, depth in zip(bodies, depths, strict=True):
            self._settle(body, depth, changes)

    def _relevance(self, batch: PixelEmbeddings) -> SliceMaps:
        plane = (batch.tags.shape[1], *batch.valid.shape[1:])
        if plane != self._maps.shape[1:]:
            raise InputError(
                f"slices of {self._maps.shape[1:]} and {plane} (classes, height, width) in one "
                "data set; give all slices one shape"
            )
        return self._make(batch)

    def _settle(self, slices: SliceMaps, depth: Tensor | None, changes: Changes) -> None:
        new = self._make.settle(slices, depth)
        before = None if self._old is None else self._old.lookup_known(slices.index)
        if before is not None and self._momentum > 0:
            new = blend(new, before, self._momentum)
        self._maps.write(slices.index, new)
        self._seen.append(slices.index)
        changes.add(new, before, (slices.tags > 0.5)[:, :, None, None] & (new > IGNORE))


class Changes:
    """What the new maps look like beside the old ones, as sums over pixels."""

    def __init__(self, low: float, high: float) -> None:
        """Begin with no pixels.

        Args:
            low: Threshold of irrelevance.
            high: Threshold of relevance.
        """
        self._low, self._high = low, high
        self.sums = torch.zeros(3, dtype=torch.float64)  # pixels, relevant, changed

    def add(self, new: Tensor, old: Tensor | None, open_pixels: Tensor) -> None:
        """Count pixels by their new and old relevance.

        Args:
            new: Maps.
            old: The maps before, of the same shape.
            open_pixels: Those that count, of the same shape, bool.
        """
        target = to_targets(new, self._low, self._high)
        before = target if old is None else to_targets(old, self._low, self._high)
        kinds = (open_pixels, (target == 1) & open_pixels, (target != before) & open_pixels)
        self.sums += torch.stack([kind.sum() for kind in kinds])
