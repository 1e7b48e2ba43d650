"""Writes the maps of all training slices: relevance in tagged slices, 0 in untagged ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wsseg.clustering.dominance import dominant
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.utils.errors import InputError
from wsseg.utils.map_file import MapFile
from wsseg.utils.smoothing import blur_across
from wsseg.utils.targets import IGNORE, limited_by, to_targets

ROWS_TOGETHER = 256  # maps of untagged slices that are in memory at a time


class SliceMaps(NamedTuple):
    """The relevance in some slices."""

    index: Tensor  # type: ignore[assignment]  # [S] int64, the ids of the slices, on the CPU
    tags: Tensor
    """[S, C], 0, 1, or NaN where unknown, on the CPU."""
    relevance: Tensor
    """[S, C, h, w]."""


class MapMaker(Protocol):
    """What makes maps of slices: the clusters of a data set, or those within each slice."""

    @property
    def smoothing(self) -> float:
        """Width in pixels of the Gaussian that smooths maps across slices."""

    @property
    def needs_activation(self) -> bool:
        """Whether slices must come with their class activation."""

    @property
    def has_degrees(self) -> bool:
        """Whether pixels are more or less relevant; otherwise relevance is 0 or 1."""

    def relevance(self, slices: PixelEmbeddings) -> Tensor:
        """Return the relevance of all pixels of some slices, [B, C, h, w]."""


class MapWriter:
    """Writes maps slice by slice, so that memory does not grow with the number of slices.

    Attributes:
        sums: Numbers of pixels of tagged slices: all, those that are relevant, and those whose
            target differs from that of the last refresh, [3] float64.
    """

    def __init__(
        self, file: MapFile, clusters: MapMaker, former: MapFile | None, low: float, high: float
    ) -> None:
        """Set the file and the clusters.

        Args:
            file: File to write to.
            clusters: Clusters that map embeddings to relevance.
            former: Maps of the last refresh, to compare with.
            low: Relevance up to which the target is 0.
            high: Relevance above which the target is 1.
        """
        self.sums = torch.zeros(3, dtype=torch.float64)
        self._file = file
        self._clusters = clusters
        self._former = former
        self._low, self._high = low, high
        self._written = [torch.empty(0, dtype=torch.int64)]

    @property
    def needs_activation(self) -> bool:
        """Whether slices must come with their class activation."""
        return self._clusters.needs_activation

    @property
    def index(self) -> Tensor:
        """Ids of the slices that were written, [n]."""
        return torch.cat(self._written)

    def write_untagged(self, index: Tensor, tags: Tensor) -> None:
        """Write the maps of slices that are tagged with no class; they need no embedding.

        Args:
            index: Ids of the slices, [n].
            tags: Their tags, [n, C], 0, or NaN where unknown.
        """
        together = zip(index.split(ROWS_TOGETHER), tags.cpu().split(ROWS_TOGETHER), strict=True)
        for part, given in together if len(index) else ():
            nothing = torch.zeros(len(part), *self._file.shape[1:])
            self._file.write(part, limited_by(given, nothing))
        self._written.append(index.cpu())

    def write_slices(self, batches: Iterable[PixelEmbeddings]) -> None:
        """Write the maps of all batches, without smoothing across slices.

        Args:
            batches: The slices.

        Raises:
            InputError: Slices differ in shape.
        """
        for batch in batches:
            self.write_untagged(batch.index[~batch.tagged], batch.tags[~batch.tagged])
            if bool(batch.tagged.any()):
                self._write(self._relevance(batch.select(batch.tagged)))

    def write_runs(self, batches: Iterable[PixelEmbeddings], depths: Sequence[Tensor]) -> None:
        """Write the maps of tagged slices, smoothed across each run of slices of a case.

        Args:
            batches: The slices, run after run and in order along each; a batch may hold slices of
                several runs.
            depths: For each run the positions of its slices along the case, in pixels, [S].

        Raises:
            InputError: Slices differ in shape.
        """
        parts = map(self._relevance, batches)
        for run, depth in zip(regroup(parts, map(len, depths)), depths, strict=True):
            self._write(smoothed_across(run, depth, self._clusters.smoothing))

    def _relevance(self, batch: PixelEmbeddings) -> SliceMaps:
        if batch.plane != self._file.shape[1:]:
            raise InputError(
                f"slices of {self._file.shape[1:]} and {batch.plane} (classes, height, width) in "
                "one data set; give all slices one shape"
            )
        return SliceMaps(batch.index.cpu(), batch.tags.cpu(), self._clusters.relevance(batch))

    def _write(self, slices: SliceMaps) -> None:
        """Write maps, of dominant regions only, and count pixels and those that changed."""
        new = slices.relevance.cpu()
        if self._clusters.has_degrees:
            new = dominant(new, self._low)
        self._file.write(slices.index, new)
        self._written.append(slices.index)
        target = to_targets(new, self._low, self._high)
        former = target
        if self._former is not None:
            former = to_targets(self._former.lookup_known(slices.index), self._low, self._high)
        counted = (slices.tags > 0.5)[:, :, None, None] & (new > IGNORE)
        masks = (counted, (target == 1) & counted, (target != former) & counted)
        self.sums += torch.stack([chosen.sum() for chosen in masks])


def smoothed_across(slices: SliceMaps, depth: Tensor, smoothing: float) -> SliceMaps:
    """Smooth relevance across the slices of a case: a lesion spans several slices, noise does not.

    For each class, slices that are not tagged with it are left out.

    Args:
        slices: Slices of one case in order.
        depth: Their positions along the case, in pixels, [S].
        smoothing: Width of the Gaussian, in pixels.
    """
    tags = slices.tags.to(slices.relevance.device)
    known = (slices.relevance > IGNORE) & (tags > 0.5)[:, :, None, None]
    return slices._replace(relevance=blur_across(slices.relevance, known, depth, smoothing))


def regroup(parts: Iterable[SliceMaps], sizes: Iterable[int]) -> Iterator[SliceMaps]:
    """Regroup slices in their order, reading no more parts than needed at a time.

    Args:
        parts: The slices, in parts of any size.
        sizes: Number of slices of each new group.
    """
    remaining = iter(parts)
    kept: list[SliceMaps] = []
    for size in sizes:
        while sum(len(part.index) for part in kept) < size:
            kept.append(next(remaining))
        joined = SliceMaps(*map(torch.cat, zip(*kept, strict=True)))
        yield SliceMaps(*(part[:size] for part in joined))
        kept = [SliceMaps(*(part[size:] for part in joined))]
