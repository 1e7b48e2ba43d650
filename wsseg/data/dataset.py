"""The slices of one split, read from memory-mapped arrays a whole batch at a time."""

from __future__ import annotations

import resource
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wsseg.data.spec import Batch
from wsseg.utils.errors import InputError

LEVELS = 8  # fine enough to tell vertex from skull base, coarse enough to compare patients
MOST_OPEN = 2**15  # memory maps; the kernel allows some 65,000


@dataclass(frozen=True)
class CaseSlices:
    """Where the slices of one case stand in the store.

    Attributes:
        id: Name of the case, and stem of its array files.
        position: Position of the case in the manifest.
        first_index: Stable id of the case's first slice; the others follow in order.
        tags: One multi-hot row per slice, [S, C] float32.
        depth: Where the slices lie along the case, in heights of a pixel, [S] float32.
        source: Hash of the images that the slices were made of; nothing if nobody noted it.
        numbers: Number of each slice along the slicing axis of its volume.
    """

    id: str
    position: int
    first_index: int
    tags: Tensor
    depth: Tensor
    source: str = ""
    numbers: tuple[int, ...] = ()


class ArrayFolder:
    """Memory maps of the ``<id>.npy`` files of one folder.

    The most recently used ones of all folders are kept open.
    """

    _open: ClassVar[OrderedDict[tuple[int, str], np.ndarray]] = OrderedDict()

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is opened yet.

        Args:
            folder: Folder that holds one array file per case.
        """
        self.folder = folder
        weakref.finalize(self, self._close, id(self))

    def __getitem__(self, case_id: str) -> np.ndarray:
        """Return the array of a case, read only as far as it is looked at.

        Raises:
            InputError: The file is missing or is not an array.
        """
        key = (id(self), case_id)
        array = self._open.get(key)
        if array is None:
            array = self._open[key] = _map_array(self.folder / f"{case_id}.npy")
            while len(self._open) > _most_open():
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        return array

    def __reduce__(self) -> tuple[type[ArrayFolder], tuple[Path]]:
        """Leave the maps behind: a spawned loader worker opens its own."""
        return type(self), (self.folder,)

    @classmethod
    def _close(cls, number: int) -> None:
        """Close what a folder had open that is not in use any more."""
        for key in [*cls._open]:
            if key[0] == number:
                cls._open.pop(key, None)


class SliceDataset(Dataset[Batch]):
    """Images, tags and identities of the slices of some cases.

    Items come as batches: ``dataset[i]`` is a batch of one slice, and a ``DataLoader`` with
    ``collate_fn=as_is`` gets the whole batch from one :meth:`__getitems__` call.
    """

    def __init__(self, root: Path, cases: Sequence[CaseSlices]) -> None:
        """Lay out the slices of the given cases one after the other.

        Args:
            root: The slice store.
            cases: The cases of the split.
        """
        self.images = ArrayFolder(root / "images")
        self.valid = ArrayFolder(root / "valid")
        self.cases = list(cases)
        lengths = [len(case.tags) for case in self.cases]
        self._case = np.repeat(np.arange(len(lengths)), lengths)
        self._row = np.concatenate([np.arange(n) for n in lengths] or [np.empty(0, np.int64)])
        self.tags = torch.cat([case.tags for case in self.cases]) if lengths else torch.empty(0, 0)
        first = np.repeat([case.first_index for case in self.cases], lengths)
        self.index = torch.from_numpy(first + self._row).long()
        # Tell the clustering that the slices of a case form a body, how they lie in it, and which
        # slices of other bodies they are like.
        self.case = torch.tensor([case.position for case in self.cases])[self._case]
        self.depth = torch.cat([case.depth for case in self.cases]) if lengths else torch.empty(0)
        self.level = torch.cat([levels(n) for n in lengths]) if lengths else torch.empty(0).long()

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


def levels(count: int) -> Tensor:
    """Return the level of each slice of a case, [count] int64 from 0 to ``LEVELS`` - 1."""
    return LEVELS * torch.arange(count) // count


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
    """Collate nothing: the data set's batched fetch has already made the batch."""
    return batch


def _most_open() -> int:
    """Return how many memory maps are kept; each holds one of the process's file descriptors.

    Reopening one takes 70 times as long as looking it up.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if allowed == resource.RLIM_INFINITY else min(MOST_OPEN, allowed // 2)


def _map_array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise InputError(f"{path}: the slice store lacks this file; prepare it again") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable array ({error}); prepare it again") from None
    return array
