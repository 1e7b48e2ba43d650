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


@dataclass(frozen=True)
class SliceTags:
    """What is known of slices before any is read.

    Attributes:
        index: Their ids, [N] int64.
        tags: [N, C], 0 or 1.
    """

    index: Tensor
    tags: Tensor

    def digest(self) -> str:
        """Return what tells this set of slices from others."""
        parts = (self.index.cpu().long(), (self.tags.cpu() > 0.5).byte())
        return hashlib.sha256(b"".join(each.numpy().tobytes() for each in parts)).hexdigest()


class EmbeddingSource:
    """Embeds any of the training slices, in order and without shuffling."""

    def __init__(self, loader: Any, embed: Callable[[Any, bool], PixelEmbeddings]) -> None:
        """Take over a training loader's data set and way of making batches, not its order.

        Args:
            loader: The ``DataLoader`` of the training slices. If its data set has ``index`` [N]
                and ``tags`` [N, C], slices without a tag need not be read.
            embed: Moves a batch to the model and embeds it, with the activation or without.

        Raises:
            ClusteringError: The loader is no single ``DataLoader`` over a data set with a length.
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
        index, tags = getattr(dataset, "index", None), getattr(dataset, "tags", None)
        self.known: SliceTags | None = None
        if not (isinstance(index, Tensor) and isinstance(tags, Tensor)):
            return
        # A subset of a larger set may still hold the tags of all of it.
        if len(index) == len(tags) == len(self):
            self.known = SliceTags(index, tags)

    def __len__(self) -> int:
        """Return the number of items of the data set (slices, unless it serves batches)."""
        return len(cast(Sized, self._dataset))

    def __call__(
        self, positions: Sequence[int], activation: bool = True
    ) -> Iterator[PixelEmbeddings]:
        """Embed the slices at these positions, in batches, with their activation or without."""
        loader: DataLoader[Any] = DataLoader(
            Subset(self._dataset, positions),
            batch_size=_batch_size(self._loader),
            collate_fn=self._loader.collate_fn,
            num_workers=self._loader.num_workers if len(positions) else 0,
            worker_init_fn=self._loader.worker_init_fn,
            pin_memory=self._loader.pin_memory,
            # Else making the iterator draws from the global generator and changes the training.
            generator=torch.Generator(),
        )
        for batch in loader:
            yield self._embed(batch, activation)


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


def choose_slices(count: int, most: int, seed: int, tags: Tensor | None = None) -> list[int]:
    """Choose the slices that clusters are made from and judged by.

    Args:
        count: Number of slices.
        most: How many to choose; all if there are no more.
        seed: Chooses them.
        tags: [count, C], if they are known: slices of every combination of tags then take turns,
            so that none is left out because it is rare.

    Returns:
        Their positions in order.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if tags is not None and count > most:
        kind = torch.unique(tags.cpu()[order] > 0.5, dim=0, return_inverse=True)[1]
        turn = torch.nn.functional.one_hot(kind).cumsum(dim=0).gather(1, kind[:, None])
        order = order[turn[:, 0].argsort(stable=True)]
    return order[:most].sort().values.tolist()


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
