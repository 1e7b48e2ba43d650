"""The evidence: sampled pixels of some slices, from which clusters are formed and scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wsseg.clustering.checks import check_probabilities
from wsseg.clustering.clusters import Clusters
from wsseg.clustering.embeddings import PixelEmbeddings, pixels_of
from wsseg.clustering.kmeans import check_finite
from wsseg.clustering.relevance import slice_peaks
from wsseg.clustering.selection import sample_rows
from wsseg.clustering.statistics import ClusterStatistics, empty_statistics, slice_statistics
from wsseg.clustering.views import View, column_maps
from wsseg.utils.errors import InputError

MOST_PIXELS = 2**19
"""Most pixels that all processes keep together: 1,024 of each of 512 slices."""

MOST_VALUES = 2**24
"""Most values of these pixels together (64 MiB): of long feature vectors fewer pixels are kept."""


@dataclass(frozen=True)
class _Part:
    """The sampled pixels [n] of a batch of slices [B]."""

    columns: Tensor  # [n, D + E], features, then columns of the views
    activation: Tensor  # [n, C]
    row: Tensor  # [n], position of the slice in the batch
    place: Tensor  # [n, 2], row and column in the slice
    slices: PixelEmbeddings  # [B], without their maps
    labels: Tensor | None = None  # [n, R], clusters; None before assign()

    def select(self, pixels: Tensor) -> _Part:
        """Return some of the pixels."""
        of_pixels = {name: getattr(self, name)[pixels] for name in ("columns", "activation")}
        return replace(self, **of_pixels, row=self.row[pixels], place=self.place[pixels])


class Evidence:
    """Evenly spaced pixels of some slices, which are embedded once for k-means and for scoring.

    Attributes:
        widths: Number of columns of the features, then of each view; 0 before :meth:`collect`.
        plane: Number of classes, height and width; 0 before :meth:`collect`.
        slices: Number of slices of all processes together, see :meth:`thin_out`.

    Example:
        >>> batch = PixelEmbeddings(
        ...     features=torch.rand(2, 8, 16, 16),
        ...     activation=torch.rand(2, 1, 16, 16),
        ...     valid=torch.ones(2, 16, 16, dtype=torch.bool),
        ...     tags=torch.tensor([[1.0], [0.0]]),
        ...     index=torch.arange(2),
        ... )
        >>> evidence = Evidence(slices=2)
        >>> evidence.collect([batch])
        >>> columns, index = evidence.sample(quota=100)
        >>> evidence.count, columns.shape
        (2, torch.Size([200, 8]))
    """

    def __init__(
        self,
        slices: int,
        views: Sequence[View] = (),
        learned: Sequence[Tensor] = (),
        most_pixels: int = MOST_PIXELS,
        most_values: int = MOST_VALUES,
    ) -> None:
        """Start without slices.

        Args:
            slices: Number of slices that all processes are expected to collect together.
            views: The views that some clusterings see beside the features.
            learned: Tensor that each view has learned.
            most_pixels: Most pixels that all processes keep together.
            most_values: Most values of these pixels together.
        """
        self.widths = [0] * (1 + len(views))
        self.plane = (0, 0, 0)
        self.slices = self._expected = max(1, slices)
        self._views, self._learned = views, learned
        self._most_pixels, self._most_values = most_pixels, most_values
        self._parts: list[_Part] = []

    def collect(self, batches: Iterable[PixelEmbeddings]) -> None:
        """Sample and keep pixels of all batches.

        Args:
            batches: The slices.

        Raises:
            InputError: A feature or an activation is not finite, or an activation is not a
                probability.
        """
        for batch in batches:
            self.plane = batch.plane
            place = batch.valid.nonzero()
            maps = column_maps(batch, self._views, self._learned)
            self.widths = [part.shape[1] for part in maps]
            kept = place[sample_rows(place[:, 0], self._quota())]
            columns = pixels_of(maps, kept)
            check_finite(columns)
            activation = _activation_of(batch, kept)
            slices = batch.without_maps()
            self._parts.append(_Part(columns, activation, kept[:, 0], kept[:, 1:], slices))

    @property
    def count(self) -> int:
        """Number of slices that this process has collected."""
        return sum(len(part.slices.index) for part in self._parts)

    def thin_out(self, slices: int) -> None:
        """Keep fewer pixels of each slice if there are more slices than expected.

        Args:
            slices: Number of slices that all processes have collected together.
        """
        self.slices = max(1, slices)
        if self.slices <= self._expected:
            return
        self._expected = self.slices
        self._parts = [part.select(sample_rows(part.row, self._quota())) for part in self._parts]

    def sample(self, quota: int) -> tuple[Tensor, Tensor]:
        """Return the columns of some pixels of each slice [n, D + E], and their slices' ids [n].

        Args:
            quota: Largest number of pixels of a slice.
        """
        if not self._parts:
            return torch.empty(0, sum(self.widths)), torch.empty(0, dtype=torch.int64)
        chosen = [(part, sample_rows(part.row, quota)) for part in self._parts]
        columns = torch.cat([part.columns[kept] for part, kept in chosen])
        return columns, torch.cat([part.slices.index[part.row[kept]] for part, kept in chosen])

    def assign(self, clusters: Clusters) -> None:
        """Find the clusters of all pixels, for :meth:`statistics` and :meth:`peaks`."""
        self._parts = [replace(p, labels=clusters.assign(p.columns)) for p in self._parts]

    def statistics(self, clusterings: int, clusters: int, classes: int) -> ClusterStatistics:
        """Return the statistics of the clusters over the slices of this process.

        Args:
            clusterings: R.
            clusters: K.
            classes: C.
        """
        total = empty_statistics(clusterings, clusters, classes)
        for part in self._parts:
            labels = _labels_of(part)
            total = total + slice_statistics(
                labels,
                part.activation.to(labels.device),
                part.row.to(labels.device),
                part.place.to(labels.device),
                part.slices.tags,
                part.slices.cases,
                part.slices.levels,
                clusters,
            )
        return total

    def peaks(self, votes: Tensor) -> Tensor:
        """Return the peak relevance of each slice by votes [R, K, C], [n, C] on the CPU."""
        peaks = [torch.empty(0, votes.shape[2])]
        for part in self._parts:
            tags = part.slices.tags.cpu().float()
            peaks.append(slice_peaks(_labels_of(part).cpu(), part.row.cpu(), votes.cpu(), tags))
        return torch.cat(peaks)

    def _quota(self) -> int:
        """Return the largest number of pixels to keep of a slice."""
        pixels = min(self._most_pixels, self._most_values // max(1, sum(self.widths)))
        return max(1, pixels // self._expected)


def _labels_of(part: _Part) -> Tensor:
    assert part.labels is not None, "call assign() first"
    return part.labels


def _activation_of(batch: PixelEmbeddings, place: Tensor) -> Tensor:
    """Return the class activation of some pixels, [n, C]; refuse values outside [0, 1]."""
    if batch.activation is None:
        raise InputError(
            "embed_pixels: `activation` is None; leave it out only if called with activation=False"
        )
    slice_, row, column = place.T
    activation = batch.activation[slice_, :, row, column].float()
    if not bool(torch.isfinite(activation).all()):
        raise InputError(
            "the class activation holds NaN or infinite values; look for images that do, too, "
            "lower the learning rate, or train in higher precision (32-true)"
        )
    check_probabilities(activation)
    return activation
