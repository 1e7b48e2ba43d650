"""Which training slices a process embeds, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.samplers import drawn
from wsseg.clustering.statistics import BUCKETS

LONGEST = 128  # slices of a body that are mapped together


@dataclass(frozen=True)
class KnownSlices:
    """What is known of slices before any is read.

    Attributes:
        index: Their ids, [N] int64.
        tags: [N, C], 0 or 1.
        group: The patient of each, whose slices form a body, [N] int64.
        depth: Where each lies along its body, in pixels, [N].
        stratum: That of each, as in the embeddings, [N] int64. None, as the former two, if unknown.
    """

    index: Tensor
    tags: Tensor
    group: Tensor | None = None
    depth: Tensor | None = None
    stratum: Tensor | None = None

    @classmethod
    def of(cls, dataset: Any, count: int) -> KnownSlices | None:
        """Return what a data set tells of its slices in tensors named so.

        Args:
            dataset: The training slices.
            count: Their number. A subset of a larger set may still have the tensors of all of it,
                which do not count.

        Returns:
            None if it lacks ``index`` or ``tags``.

        Raises:
            ClusteringError: A tensor has another shape or type, or a depth is not finite.
        """
        index, tags, group, depth, stratum = (
            value if isinstance(value, Tensor) and value.shape[:1] == (count,) else None
            for value in (getattr(dataset, name, None) for name in cls.__annotations__)
        )
        if index is None or tags is None:
            return None
        if tags.ndim != 2:
            raise ClusteringError(
                f"the data set's `tags` is {tuple(tags.shape)}; make it [N, C], a column for each "
                "class, or give it another name"
            )
        for name, value in {"index": index, "group": group, "stratum": stratum}.items():
            if value is not None and (value.ndim != 1 or value.is_floating_point()):
                raise ClusteringError(
                    f"the data set's `{name}` is {tuple(value.shape)} of {value.dtype}; make it "
                    "[N], a whole number for each slice, or give it another name"
                )
        if depth is not None and (depth.ndim != 1 or not bool(torch.isfinite(depth).all())):
            holds = "NaN or infinite values" if depth.ndim == 1 else f"{tuple(depth.shape)} numbers"
            raise ClusteringError(
                f"the data set's `depth` holds {holds}; make it say where slices lie along their "
                "body, in pixels [N], or give it another name"
            )
        return cls(index, tags, group, depth, stratum)

    def at(self, rows: Tensor) -> KnownSlices:
        """Return what is known of some of the slices.

        Args:
            rows: Their positions, [n] int64.
        """
        told = (None if value is None else value[rows] for value in vars(self).values())
        return KnownSlices(*told)  # type: ignore[arg-type]

    def digest(self) -> str:
        """Return what tells this set of slices from others."""
        parts = (self.index.cpu().long(), (self.tags.cpu() > 0.5).byte())
        return hashlib.sha256(b"".join(each.numpy().tobytes() for each in parts)).hexdigest()


def bodies(rows: Tensor, group: Tensor, depth: Tensor) -> list[Tensor]:
    """Sort slices into bodies.

    Args:
        rows: Positions of slices, [n] int64.
        group: The patient of every slice, [N] int64.
        depth: Where every slice lies along its body, [N].

    Returns:
        The positions of each body's slices in order along it, of longer bodies in several parts:
        the slices of one are in memory together.
    """
    rows = rows[depth[rows].argsort(stable=True)]
    rows = rows[group[rows].argsort(stable=True)]
    counts = group[rows].unique_consecutive(return_counts=True)[1]
    whole = rows.split(counts.tolist()) if len(rows) else ()
    return [part for body in whole for part in body.split(LONGEST)]


class EmbeddingSource:
    """Embeds any of the training slices, in order and without shuffling."""

    def __init__(self, loader: Any, embed: Callable[..., PixelEmbeddings]) -> None:
        """Take over a training loader's slices and way of making batches, not its order.

        Args:
            loader: The ``DataLoader`` of the training slices: those of its data set that its
                sampler may draw, see :func:`~wsseg.clustering.samplers.drawn`. If the set has
                ``index`` [N] and ``tags`` [N, C], slices without a tag need not be read; if it also
                has ``group`` [N] and ``depth`` [N], the slices of a group form a body; by
                ``stratum`` [N], untagged slices like the tagged ones are found.
            embed: ``embed(batch, activation=..., features=...)`` moves a batch to the model and
                embeds it, with activation and features or without.

        Raises:
            ClusteringError: The loader is not one ``DataLoader`` over a data set with a length.
        """
        dataset = getattr(loader, "dataset", None)
        if (
            dataset is None
            or isinstance(dataset, IterableDataset)
            or not hasattr(dataset, "__len__")
        ):
            of = "" if dataset is None else f" over {type(dataset).__name__}"
            raise ClusteringError(
                f"clustering needs one DataLoader over a data set with a length, got "
                f"{type(loader).__name__}{of}; give ClusterReSupervision(dataloader=...) one"
            )
        self._loader = loader
        self._dataset: Dataset[Any] = dataset
        self._embed = embed
        self.known = KnownSlices.of(dataset, len(self))
        rows = drawn(loader, len(self))
        if len(rows) < len(self):
            self._dataset = Subset(dataset, rows)
            self.known = None if self.known is None else self.known.at(torch.tensor(rows))

    def __len__(self) -> int:
        """Return the number of items that are drawn (slices, unless it serves batches)."""
        return len(cast(Sized, self._dataset))

    def __call__(
        self, positions: Sequence[int], activation: bool = True, features: bool = True
    ) -> Iterator[PixelEmbeddings]:
        """Embed the slices at these positions, in batches; with what is wanted of them."""
        of_workers = ("num_workers", "multiprocessing_context", "prefetch_factor", "timeout")
        loader: DataLoader[Any] = DataLoader(
            Subset(self._dataset, positions),
            batch_size=_batch_size(self._loader),
            collate_fn=self._loader.collate_fn,
            worker_init_fn=self._loader.worker_init_fn,
            pin_memory=self._loader.pin_memory,
            **{name: getattr(self._loader, name) for name in of_workers if len(positions)},
            # Else making the iterator draws from the global generator and changes the training.
            generator=torch.Generator(),
        )
        for batch in loader:
            yield self._embed(batch, activation=activation, features=features)


def _batch_size(loader: DataLoader[Any]) -> int | None:
    """Return the slices per batch of a loader; None if its data set serves batches."""
    if loader.batch_sampler is None or loader.batch_size is not None:
        return loader.batch_size
    return int(getattr(loader.batch_sampler, "batch_size", 1))  # a sampler of the user's own


def share(count: int, rank: int, size: int) -> range:
    """Return the positions that one of several processes visits; each belongs to exactly one.

    They are a block, so that files are read in order.

    Args:
        count: Number of positions.
        rank: This process.
        size: Number of processes.
    """
    return range(count * rank // size, count * (rank + 1) // size)


def share_bodies(found: Sequence[Tensor], rank: int, size: int) -> list[Tensor]:
    """Return the bodies that one of several processes maps, a block of about as many slices each.

    Args:
        found: Positions of the slices of each body.
        rank: This process.
        size: Number of processes.
    """
    lengths = torch.tensor([len(body) for body in found], dtype=torch.int64)
    twice_the_middle = 2 * lengths.cumsum(0) - lengths
    owner = twice_the_middle * size // (2 * lengths.sum()).clamp_min(1)
    return [body for body, each in zip(found, owner.tolist(), strict=True) if each == rank]


def choose_slices(
    count: int, most: int, seed: int, tags: Tensor | None = None, stratum: Tensor | None = None
) -> list[int]:
    """Choose the slices that clusters are formed and scored from.

    Args:
        count: Number of slices.
        most: How many to choose; all if there are no more.
        seed: Chooses them.
        tags: [count, C], if they are known: slices of every combination of tags then take turns,
            so that none is left out because it is rare.
        stratum: [count] int64, if it is known: untagged slices then come from the strata of the
            tagged ones, which they are compared with, as far as these have some.

    Returns:
        Their positions in order.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if tags is not None and count > most:
        shown = tags.cpu()[order] > 0.5
        if stratum is not None:
            tagged = shown.any(dim=1)
            level = stratum.cpu()[order].long().remainder(BUCKETS)
            frequency = torch.bincount(level[tagged], minlength=BUCKETS)
            rest = level[~tagged]
            # The n-th of a stratum with frequency f comes at n / f: all strata fill up together.
            due = occurrence(rest) / frequency[rest]
            order[~tagged] = order[~tagged][due.argsort(stable=True)]
        kind = torch.unique(shown, dim=0, return_inverse=True)[1]
        order = order[occurrence(kind).argsort(stable=True)]
    return order[:most].sort().values.tolist()


def choose_untagged(
    count: int, most: int, seen: list[int], tags: Tensor | None = None
) -> list[int]:
    """Choose untagged slices, evenly spaced.

    Args:
        count: Number of slices.
        most: How many to choose.
        seen: Positions of slices not to choose.
        tags: [count, C]; if they are unknown, tagged slices may be chosen, too.

    Returns:
        Their positions in order.
    """
    left = torch.ones(count, dtype=torch.bool)
    left[seen] = False
    if tags is not None:
        left &= ~(tags > 0.5).any(dim=1).cpu()
    rows = left.nonzero()[:, 0]
    return rows[evenly_spaced(len(rows), most)].tolist()


def occurrence(kind: Tensor) -> Tensor:
    """Count for each element how many of its kind there are up to and with it, [n] int64."""
    order = kind.argsort(stable=True)
    counts = torch.bincount(kind)
    first = counts.cumsum(0) - counts
    found = torch.empty_like(kind)
    found[order] = torch.arange(1, len(kind) + 1) - first[kind[order]]
    return found


def sample_rows(row: Tensor, quota: int) -> Tensor:
    """Choose evenly spaced pixels of each slice: spread in space, and the same every time.

    Args:
        row: Slice of each pixel, [n] int64, ascending.
        quota: Most pixels from a slice.

    Returns:
        Positions in ``row``.
    """
    counts = torch.bincount(row)
    starts = counts.cumsum(0) - counts
    chosen = []
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        chosen.append(start + evenly_spaced(count, quota, row.device))
    return torch.cat(chosen) if chosen else row


def evenly_spaced(count: int, most: int, device: torch.device | None = None) -> Tensor:
    """Return at most so many of the numbers below ``count``, evenly spaced."""
    taken = min(most, count)
    return (2 * torch.arange(taken, device=device) + 1) * count // max(1, 2 * taken)
