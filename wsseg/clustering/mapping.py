"""Writes the maps of all slices: relevance in tagged slices, 0 in untagged ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.clusters import Clusters
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.utils.errors import InputError
from wsseg.utils.map_file import MapFile
from wsseg.utils.smoothing import blur_across
from wsseg.utils.targets import IGNORE, to_targets

ROWS_TOGETHER = 256  # maps of untagged slices that are written at a time


class SliceMaps(NamedTuple):
    """The relevance in some slices."""

    index: Tensor  # type: ignore[assignment]  # [S] int64, the ids of the slices, on the CPU
    tags: Tensor
    """[S, C], 0 or 1, on the CPU."""
    relevance: Tensor
    """[S, C, h, w]."""


class MapWriter:
    """Writes maps slice by slice; nothing that it holds grows with the pixels.

    Attributes:
        sums: Pixels of tagged slices, those that are relevant, and those whose target differs from
            the last refresh's, [3] float64.
    """

    def __init__(
        self, file: MapFile, clusters: Clusters, former: MapFile | None, low: float, high: float
    ) -> None:
        """Name what is written where.

        Args:
            file: Takes the maps.
            clusters: Make the maps.
            former: The last refresh's maps, to compare with.
            low: Threshold of irrelevance.
            high: Threshold of relevance.
        """
        self.sums = torch.zeros(3, dtype=torch.float64)
        self._file = file
        self._clusters = clusters
        self._former = former
        self._low, self._high = low, high
        self._written = [torch.empty(0, dtype=torch.int64)]

    @property
    def index(self) -> Tensor:
        """The ids of the slices that were written, [n]."""
        return torch.cat(self._written)

    def write_untagged(self, index: Tensor) -> None:
        """Write that nothing is relevant in some slices.

        Args:
            index: Their ids, [n].
        """
        for part in index.split(ROWS_TOGETHER) if len(index) else ():
            self._file.write(part, torch.zeros(len(part), *self._file.shape[1:]))
        self._written.append(index.cpu())

    def write_slices(self, batches: Iterable[PixelEmbeddings]) -> None:
        """Write the maps of all batches, each slice on its own.

        Args:
            batches: The slices.

        Raises:
            InputError: Slices differ in shape.
        """
        for batch in batches:
            self.write_untagged(batch.index[~batch.tagged])
            if bool(batch.tagged.any()):
                self._write(self._relevance(batch.select(batch.tagged)))

    def write_runs(self, batches: Iterable[PixelEmbeddings], depths: Sequence[Tensor]) -> None:
        """Write the maps of tagged slices, smoothed along each run of slices of a case.

        Args:
            batches: The slices, run after run and in order along each; where one batch ends and the
                next begins does not matter.
            depths: Where the slices of each run lie along their case, in pixels, [S] each.

        Raises:
            InputError: Slices differ in shape.
        """
        parts = map(self._relevance, batches)
        for run, depth in zip(regroup(parts, map(len, depths)), depths, strict=True):
            self._write(smoothed_along(run, depth, self._clusters.smoothing))

    def _relevance(self, batch: PixelEmbeddings) -> SliceMaps:
        if batch.plane != self._file.shape[1:]:
            raise InputError(
                f"slices of {self._file.shape[1:]} and {batch.plane} (classes, height, width) in "
                "one data set; give all slices one shape"
            )
        return SliceMaps(batch.index.cpu(), batch.tags.cpu(), self._clusters.relevance(batch))

    def _write(self, slices: SliceMaps) -> None:
        """Write maps, and count how they differ from the former ones."""
        new = slices.relevance.cpu()
        self._file.write(slices.index, new)
        self._written.append(slices.index)
        target = to_targets(new, self._low, self._high)
        before = target
        if self._former is not None:
            before = to_targets(self._former.lookup_known(slices.index), self._low, self._high)
        counted = (slices.tags > 0.5)[:, :, None, None] & (new > IGNORE)
        kinds = (counted, (target == 1) & counted, (target != before) & counted)
        self.sums += torch.stack([kind.sum() for kind in kinds])


def smoothed_along(slices: SliceMaps, depth: Tensor, smoothing: float) -> SliceMaps:
    """Smooth relevance from slice to slice of a case: a lesion continues there, noise does not.

    Slices without a class say nothing about where it is in others.

    Args:
        slices: Slices of one case in order.
        depth: Where they lie along it, in pixels, [S].
        smoothing: Width of the Gaussian, in pixels.
    """
    tags = slices.tags.to(slices.relevance.device)
    known = (slices.relevance > IGNORE) & (tags > 0.5)[:, :, None, None]
    return slices._replace(relevance=blur_across(slices.relevance, known, depth, smoothing))


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
