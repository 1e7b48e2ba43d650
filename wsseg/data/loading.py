"""The loader of batches, which can go on within an epoch where a checkpoint was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from wsseg.data.dataset import SliceDataset, as_is
from wsseg.data.spec import Batch


class SliceLoader(DataLoader[Batch]):
    """A ``DataLoader`` that stores how far it is in its epoch.

    Lightning saves :meth:`state_dict` with every checkpoint and gives it back on resume, so that a
    run stopped within an epoch resumes with the next batch of the same order. Starting to iterate
    is lazy: Lightning makes the first iterator before it has set the sampler's epoch.
    """

    _served: int = 0
    _served_epoch: int = 0
    _skip: int = 0
    _skip_epoch: int = -1

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of the sampler's epoch that were not served before a resume."""
        self._served_epoch = getattr(self.sampler, "epoch", 0)
        skip = self._skip if self._served_epoch == self._skip_epoch else 0
        self._skip_epoch = -1
        for self._served, batch in enumerate(super().__iter__(), start=1):
            if self._served > skip:
                yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches that have been served."""
        return {"epoch": self._served_epoch, "served": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip the batches already served when that epoch is next iterated."""
        self._skip, self._skip_epoch = state["served"], state["epoch"]


class RepeatedSampler(DistributedSampler[int]):
    """Shares out the shuffled slices of an epoch in which each slice occurs several times."""

    def __init__(
        self, dataset: SliceDataset, repeats: int, replicas: int, rank: int, seed: int
    ) -> None:
        """Set what is shared out; see :func:`training_loader`."""
        positions: Any = range(repeats * len(dataset))
        super().__init__(positions, replicas, rank, shuffle=True, seed=seed)
        self._count = len(dataset)

    def __iter__(self) -> Iterator[int]:
        """Yield the positions of this process's slices."""
        return (position % self._count for position in super().__iter__())


def training_loader(
    dataset: SliceDataset,
    batch_size: int,
    num_workers: int,
    *,
    seed: int,
    epoch: int = 0,
    repeats: int = 1,
    replicas: int = 1,
    rank: int = 0,
) -> SliceLoader:
    """Make a loader whose order depends on nothing but the seed and the epoch.

    Args:
        dataset: The training slices.
        batch_size: Slices per batch and process.
        num_workers: Loader processes; 0 reads in the main process.
        seed: Seed of the order, the same in every process.
        epoch: Epoch to begin with; Lightning sets the later ones.
        repeats: How often an epoch serves each slice.
        replicas: Number of training processes.
        rank: Number of this process.

    Returns:
        A loader over this process's share of the slices.
    """
    sampler = RepeatedSampler(dataset, repeats, replicas, rank, seed)
    sampler.set_epoch(epoch)
    return slice_loader(dataset, batch_size, num_workers, sampler)


def slice_loader(
    dataset: SliceDataset,
    batch_size: int,
    num_workers: int,
    sampler: RepeatedSampler | None = None,
) -> SliceLoader:
    """Make a loader.

    Args:
        dataset: The slices.
        batch_size: Slices per batch.
        num_workers: Loader processes; 0 reads in the main process.
        sampler: Which slices it serves, in which order; by default all in the order of the store.
    """
    return SliceLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=as_is,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Else every pass over a loader draws from the global generator, and an extra pass
        # (validation, clustering) would change the training that follows.
        generator=torch.Generator(),
    )
