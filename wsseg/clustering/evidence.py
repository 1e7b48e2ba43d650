"""What clusters are formed and scored from: pixels of a bounded number of slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wsseg.clustering.checks import check_probable
from wsseg.clustering.columns import Columns
from wsseg.clustering.deviation import Untagged, deviate, normal_appearance, untagged_slices
from wsseg.clustering.embeddings import PixelEmbeddings, feature_pixels
from wsseg.clustering.kmeans import check_finite
from wsseg.clustering.relevance import slice_peaks
from wsseg.clustering.selection import sample_rows
from wsseg.clustering.statistics import ClusterStatistics, slice_statistics
from wsseg.utils.errors import InputError

PIXELS = 2**19  # most that all processes keep together
VALUES = 2**24  # most that these have together, 64 MiB
OF_PIXELS = ("features", "activation", "row", "place")


@dataclass(frozen=True)
class _Part:
    """Some of the valid pixels [n] of a batch of slices [B]."""

    features: Tensor  # [n, D + A + E], the last E the appearance, once compared the deviation
    activation: Tensor  # [n, C]
    row: Tensor  # [n], which slice of the batch
    place: Tensor  # [n, 2], row and column in the slice
    slices: PixelEmbeddings  # [B], without their maps
    labels: Tensor | None = None  # [n, R], once they are known


class Evidence:
    """Evenly spaced pixels of some slices, embedded once for k-means and for the scores."""

    def __init__(self, slices: int) -> None:
        """Begin with no slices.

        Args:
            slices: How many all processes are expected to collect; see :meth:`thin_out`.
        """
        self.columns = Columns()
        self.untagged: list[Untagged] = []  # if the module gives their appearance
        self.plane = (0, 0, 0)  # classes, height and width
        self._slices = max(1, slices)
        self._parts: list[_Part] = []

    def collect(self, batches: Iterable[PixelEmbeddings]) -> None:
        """Keep pixels of all batches.

        Args:
            batches: The slices.

        Raises:
            InputError: A feature or an activation is not finite, or an activation is not a
                probability.
        """
        for batch in batches:
            self.columns = Columns.of(batch)
            place = batch.valid.nonzero()
            kept = place[sample_rows(place[:, 0], self._quota())]
            features = feature_pixels(batch, kept)
            check_finite(features)
            if batch.activation is None:
                raise InputError(
                    "embed_pixels left the activation None though it was asked for; do so only "
                    "where it is called with activation=False"
                )
            slice_, row, column = kept.T
            activation = batch.activation[slice_, :, row, column].float()
            if not bool(torch.isfinite(activation).all()):
                raise InputError(
                    "the class activation holds NaN or infinite values; lower the learning rate, "
                    "or train in higher precision (32-true)"
                )
            check_probable(activation)
            self.plane = (batch.tags.shape[1], batch.valid.shape[1], batch.valid.shape[2])
            nothing = batch.valid.new_empty(0)
            slices = batch._replace(
                features=nothing, activation=nothing, valid=nothing, asymmetry=None, appearance=None
            )
            self._parts.append(_Part(features, activation, slice_, kept[:, 1:], slices))
            self.untagged += untagged_slices(batch)

    @property
    def count(self) -> int:
        """Number of slices that were collected here."""
        return sum(len(part.slices.index) for part in self._parts)

    def thin_out(self, slices: int) -> None:
        """Keep fewer pixels of each slice if there are more slices than was expected.

        Args:
            slices: How many all processes have collected.
        """
        if slices <= self._slices:
            return
        self._slices = slices
        for number, part in enumerate(self._parts):
            kept = sample_rows(part.row, self._quota())
            of_pixels = {name: getattr(part, name)[kept] for name in OF_PIXELS}
            self._parts[number] = replace(part, **of_pixels)

    def compare(self, norms: Tensor) -> None:
        """Replace the appearance of the pixels by its deviation from what is normal.

        Args:
            norms: See :func:`~wsseg.clustering.deviation.norm`.
        """
        width = self.columns.deviation
        for part in self._parts if width else ():
            own = part.features[:, -width:]
            level = part.slices.levels
            normal = normal_appearance(norms.to(own.device), level, *self.plane[1:])
            row, column = part.place.T
            own.copy_(deviate(own, normal[part.row, :, row, column]))

    def sample(self, quota: int) -> tuple[Tensor, Tensor]:
        """Return the features of fewer pixels of each slice [n, D], and the slices' ids [n].

        Args:
            quota: Most pixels of a slice.
        """
        if not self._parts:
            return torch.empty(0, 0), torch.empty(0, dtype=torch.int64)
        chosen = [(part, sample_rows(part.row, quota)) for part in self._parts]
        features = torch.cat([part.features[kept] for part, kept in chosen])
        return features, torch.cat([part.slices.index[part.row[kept]] for part, kept in chosen])

    def label(self, assign: Callable[[Tensor], Tensor]) -> None:
        """Assign the pixels to clusters.

        Args:
            assign: Gives features [n, D] their labels [n, R].
        """
        self._parts = [replace(part, labels=assign(part.features)) for part in self._parts]

    def statistics(self, clusters: int) -> ClusterStatistics | None:
        """Count what is in the clusters; None without slices.

        Args:
            clusters: K.
        """
        total: ClusterStatistics | None = None
        for part in self._parts:
            labels = self._labels(part)
            added = slice_statistics(
                labels,
                part.activation.to(labels.device),
                part.row.to(labels.device),
                part.place.to(labels.device),
                part.slices.tags,
                part.slices.cases,
                part.slices.levels,
                clusters,
            )
            total = added if total is None else total + added
        return total

    def peaks(self, votes: Tensor) -> Tensor:
        """Return what votes [R, K, C] come to in each slice, [n, C] on the CPU."""
        found = [torch.empty(0, votes.shape[2])]
        for part in self._parts:
            tags = part.slices.tags.cpu().float()
            found.append(slice_peaks(self._labels(part).cpu(), part.row.cpu(), votes.cpu(), tags))
        return torch.cat(found)

    def _quota(self) -> int:
        """Return the most pixels that are kept of a slice."""
        pixels = min(PIXELS, VALUES // max(1, sum(self.columns)))
        return max(1, pixels // self._slices)

    @staticmethod
    def _labels(part: _Part) -> Tensor:
        assert part.labels is not None, "label() comes first"
        return part.labels
