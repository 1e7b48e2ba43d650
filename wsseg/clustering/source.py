"""Passes over the training slices: which slices, in whose share, through which loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.errors import ClusteringError

PIXELS_PER_SLICE = 512  # fewer slices with more pixels each cost fewer forward passes


class Source(Protocol):
    """Embeds any of the training slices."""

    def __len__(self) -> int:
        """Return the number of slices."""
        ...

    def __call__(self, positions: Sequence[int]) -> Iterator[PixelEmbeddings]:
        """Embed the slices at these positions, in batches."""
        ...


class EmbeddingSource:
    """Embeds any of the training slices, in order and without shuffling."""

    def __init__(self, loader: Any, embed: Callable[[Any], PixelEmbeddings]) -> None:
        """Take over a training loader's data set and way of making batches, not its order.

        Args:
            loader: The ``DataLoader`` of the training slices.
            embed: Moves a batch to the model and embeds it.

        Raises:
            ClusteringError: The loader is no single ``DataLoader`` over a data set with a length.
        """
        dataset = getattr(loader, "dataset", None)
        if (
            dataset is None
            or isinstance(dataset, IterableDataset)
            or not hasattr(dataset, "__len__")
        ):
            raise ClusteringError(
                f"clustering needs one DataLoader over a data set with a length, got "
                f"{type(loader).__name__}; give ClusterReSupervision(dataloader=...) one"
            )
        self._loader = loader
        self._dataset: Dataset[Any] = dataset
        self._embed = embed

    def __len__(self) -> int:
        """Return the number of items of the data set (slices, unless it serves batches)."""
        return len(cast(Sized, self._dataset))

    def __call__(self, positions: Sequence[int]) -> Iterator[PixelEmbeddings]:
        """Embed the slices at the given positions of the data set."""
        loader: DataLoader[Any] = DataLoader(
            Subset(self._dataset, positions),
            batch_size=self._loader.batch_size,
            collate_fn=self._loader.collate_fn,
            num_workers=self._loader.num_workers if len(positions) else 0,
            worker_init_fn=self._loader.worker_init_fn,
            pin_memory=self._loader.pin_memory,
            # Else making the iterator draws from the global generator and changes the training.
            generator=torch.Generator(),
        )
        for batch in loader:
            yield self._embed(batch)


def share(count: int, rank: int, size: int) -> range:
    """Return the positions that one of several processes visits; each belongs to exactly one.

    They are a block, so that files are read in order.

    Args:
        count: Number of positions.
        rank: This process.
        size: Number of processes.
    """
    return range(count * rank // size, count * (rank + 1) // size)


def choose_slices(count: int, sample_size: int, seed: int) -> tuple[list[int], int]:
    """Choose the slices that a bounded sample of pixels comes from.

    Args:
        count: Number of slices.
        sample_size: Most pixels in the sample.
        seed: Chooses the slices.

    Returns:
        Their positions in order, and how many pixels each of them gives.
    """
    wanted = min(count, max(1, sample_size // PIXELS_PER_SLICE))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    chosen = order[:wanted].sort().values.tolist()
    return chosen, sample_size // max(1, wanted)


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
        taken = min(quota, count)
        steps = torch.arange(taken, device=row.device)
        chosen.append(start + (2 * steps + 1) * count // max(1, 2 * taken))
    return torch.cat(chosen) if chosen else row
