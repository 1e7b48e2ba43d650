"""The labels of a process's slices: made in one pass, kept in a file, turned into maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from wsseg.clustering.dominance import dominant
from wsseg.clustering.embeddings import PixelEmbeddings, valid_pixels
from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.relevance import Verdict, relevance_map
from wsseg.clustering.statistics import ClusterStatistics, slice_statistics
from wsseg.clustering.store import ClusterMaps
from wsseg.clustering.targets import IGNORE, blend, to_targets

SLICES = 16  # how many slices are mapped at a time


class LabelledSlices:
    """Labels in a file, identities and tags in memory, statistics added up.

    Only slices with a tag keep their labels: the others' maps do not depend on them.
    """

    def __init__(self, file: IO[bytes], clusters: int) -> None:
        """Begin with no slices.

        Args:
            file: An empty binary file to write to and read from.
            clusters: K.
        """
        self.statistics: ClusterStatistics | None = None
        self.plane: tuple[int, int, int] = (0, 0, 0)
        self._file = file
        self._clusters = clusters
        small = clusters < 256
        self._type: np.dtype[Any] = np.dtype(np.uint8 if small else np.int16)
        self._unknown = 2**8 - 1 if small else 2**15 - 1
        self._index: list[Tensor] = []
        self._tags: list[Tensor] = []

    @property
    def top(self) -> int:
        """The largest slice index; -1 without slices."""
        return max((int(index.max()) for index in self._index), default=-1)

    def label(self, batches: Iterable[PixelEmbeddings], assign: Callable[[Tensor], Tensor]) -> None:
        """Assign the pixels of all batches to clusters and count.

        Args:
            batches: The slices.
            assign: Gives features [n, D] their labels [n, R].

        Raises:
            ClusteringError: Two slices share an index, or slices differ in shape.
        """
        for batch in batches:
            self._label_batch(batch, assign)
        values, counts = torch.unique(
            torch.cat([torch.empty(0, dtype=torch.int64), *self._index]), return_counts=True
        )
        if bool((counts > 1).any()):
            raise ClusteringError(
                f"two training slices share the index {int(values[counts > 1][0])}; give every "
                "slice its own `index`"
            )

    def write(
        self,
        maps: ClusterMaps,
        verdict: Verdict,
        smoothing: float,
        low: float,
        dominance: float,
        momentum: float,
        old: ClusterMaps | None,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Write the maps of all slices.

        Args:
            maps: Where to.
            verdict: Of the clusters.
            smoothing: Width of the Gaussian that smooths the new maps, in pixels.
            low: Regions are made of the pixels whose relevance exceeds this.
            dominance: Which regions are kept, see :func:`dominant`.
            momentum: Weight of the old maps.
            old: The last refresh's maps.

        Yields:
            New and old relevance at the pixels that tags leave open, [n] each.
        """
        if not self._index:
            return
        index, tags = torch.cat(self._index), torch.cat(self._tags)
        tagged = (tags > 0.5).any(dim=1)
        for part in _chunks(index[~tagged]):
            maps.write(part, torch.zeros(len(part), *self.plane))
        self._file.seek(0)
        for part, part_tags in zip(_chunks(index[tagged]), _chunks(tags[tagged]), strict=True):
            labels, valid = self._read(len(part))
            new = relevance_map(labels, valid, verdict, part_tags, smoothing)
            new = dominant(new, low, dominance)
            before = None if old is None else old.lookup(part)
            if before is not None and momentum > 0:
                new = blend(new, before, momentum)
            maps.write(part, new)
            open_pixels = (part_tags > 0.5)[:, :, None, None] & (new > IGNORE)
            yield new[open_pixels], None if before is None else before[open_pixels]

    def _label_batch(self, batch: PixelEmbeddings, assign: Callable[[Tensor], Tensor]) -> None:
        pixels = valid_pixels(batch)
        if not bool(torch.isfinite(pixels.activation).all()):
            raise ClusteringError("the class activation holds NaN or infinite values")
        labels = assign(pixels.features)
        device = labels.device
        added = slice_statistics(
            labels,
            pixels.activation.to(device),
            pixels.row.to(device),
            pixels.place.to(device),
            batch.tags,
            batch.group,
            batch.stratum,
            self._clusters,
        )
        self.statistics = added if self.statistics is None else self.statistics + added
        self._keep(batch, labels)

    def _keep(self, batch: PixelEmbeddings, labels: Tensor) -> None:
        plane = (batch.tags.shape[1], *batch.valid.shape[1:])
        if self._index and plane != self.plane:
            raise ClusteringError(
                f"slices of {self.plane} and {plane} (classes, height, width) in one data set; "
                "give all slices one shape"
            )
        self.plane = (plane[0], plane[1], plane[2])
        self._index.append(batch.index.cpu())
        self._tags.append(batch.tags.float().cpu())
        valid = batch.valid.to(labels.device)
        rows = torch.full(
            (*valid.shape, labels.shape[1]), self._unknown, dtype=torch.int16, device=valid.device
        )
        rows[valid] = labels.to(torch.int16)
        tagged = (self._tags[-1] > 0.5).any(dim=1)
        self._file.write(rows.cpu()[tagged].numpy().astype(self._type).tobytes())

    def _read(self, count: int) -> tuple[Tensor, Tensor]:
        """Read the labels [count, h, w, R] of the next slices, and where they are known."""
        assert self.statistics is not None
        shape = (count, *self.plane[1:], self.statistics.pixels.shape[0])
        data = self._file.read(int(np.prod(shape)) * self._type.itemsize)
        labels = torch.from_numpy(np.frombuffer(data, self._type).astype(np.int64).reshape(shape))
        return labels, labels[..., 0] != self._unknown


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

    def add(self, new: Tensor, old: Tensor | None) -> None:
        """Count pixels by their new and old relevance, [n] each."""
        target = to_targets(new, self._low, self._high)
        changed = new.new_zeros(()) if old is None else self._differ(target, old)
        counts = torch.stack([torch.tensor(float(len(new))), (target == 1).sum(), changed])
        self.sums += counts.double()

    def _differ(self, target: Tensor, old: Tensor) -> Tensor:
        return (to_targets(old, self._low, self._high) != target).sum()


def _chunks(rows: Tensor) -> Iterator[Tensor]:
    """Cut rows into parts that are mapped at a time; no rows make no part."""
    for start in range(0, len(rows), SLICES):
        yield rows[start : start + SLICES]
