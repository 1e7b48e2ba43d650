"""The slices of one split, read from memory-mapped arrays a whole batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wsseg.data.levels import levels
from wsseg.data.spec import Batch
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.data.store_files import ArrayFolder


class SliceDataset(Dataset[Batch]):
    """Images, tags and identities of the slices of some cases.

    Items come as batches: ``dataset[i]`` is a batch of one slice, and a ``DataLoader`` with
    ``collate_fn=as_is`` gets the whole batch from one :meth:`__getitems__` call.
    """

    def __init__(self, store: SliceStore, cases: Sequence[CaseSlices]) -> None:
        """Lay out the slices of the given cases one after the other.

        Args:
            store: The slice store.
            cases: The cases of the split.
        """
        self.images, self.valid = store.images, store.valid
        self.cases = list(cases)
        lengths = [len(case.tags) for case in self.cases]
        self._case = np.repeat(np.arange(len(lengths)), lengths)
        self._row = np.concatenate([np.arange(n) for n in lengths] or [np.empty(0, np.int64)])
        self.tags = torch.cat([case.tags for case in self.cases]) if lengths else torch.empty(0, 0)
        first = np.repeat([case.first_index for case in self.cases], lengths)
        self.index = torch.from_numpy(first + self._row).long()
        # Clustering smooths across the slices of a case, for which it needs their depth, and
        # compares slices with those of the same level of other cases.
        self.case = torch.tensor([case.position for case in self.cases])[self._case]
        self.depth = torch.cat([case.depth for case in self.cases]) if lengths else torch.empty(0)
        self.level = torch.from_numpy(np.concatenate([levels(n) for n in lengths] or [levels(0)]))

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._row)

    def __getitem__(self, item: int) -> Batch:
        """Return a batch that holds one slice."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the batch made of the given items (the loader's batched fetch).

        Args:
            items: Positions in this data set.

        Returns:
            The batch, without a mask.
        """
        places = self.places(items)
        return Batch(
            image=gather(self.images, places).float(),
            tags=self.tags[list(items)],
            valid=gather(self.valid, places),
            index=self.index[list(items)],
            case=torch.tensor([case.position for case, _ in places], dtype=torch.int64),
            level=self.level[list(items)],
        )

    def places(self, items: Sequence[int]) -> list[tuple[CaseSlices, int]]:
        """Return the case and the row of each item."""
        return [(self.cases[self._case[item]], int(self._row[item])) for item in items]


def gather(folder: ArrayFolder, places: Sequence[tuple[CaseSlices, int]]) -> Tensor:
    """Stack one slice per place from the arrays of a folder.

    Args:
        folder: Arrays whose first axis is the slice.
        places: Case and row of each slice.

    Returns:
        A fresh tensor [B, ...] of the arrays' own type.
    """
    return torch.from_numpy(np.stack([folder[case.id][row] for case, row in places]))


def as_is(batch: Any) -> Any:
    """Return a batch as the data set's batched fetch has made it: nothing is left to collate."""
    return batch
