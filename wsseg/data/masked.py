"""The true masks of a store. Training slices are served by code that does not know of them."""

from __future__ import annotations

from collections.abc import Sequence

from wsseg.data.dataset import SliceDataset, gather
from wsseg.data.spec import Batch
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.data.store_files import ArrayFolder
from wsseg.data.unfinished_store import MASKS
from wsseg.utils.errors import InputError


class MaskedSliceDataset(SliceDataset):
    """A :class:`SliceDataset` whose batches also hold ``mask`` [B, C, H, W] bool."""

    def __init__(self, store: SliceStore, cases: Sequence[CaseSlices]) -> None:
        """Lay out the slices of the given cases, each of which has a mask.

        Args:
            store: The slice store.
            cases: The cases of the split.
        """
        super().__init__(store, cases)
        self.masks = masks_of(store)

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the batch made of the given items, with its masks."""
        batch = super().__getitems__(items)
        batch["mask"] = gather(self.masks, self.places(items))
        return batch


def masks_of(store: SliceStore) -> ArrayFolder:
    """Return the true masks of a store by case, [S, C, H, W] bool; some cases may have none.

    Args:
        store: The slice store.
    """
    return store.folder(MASKS, len(store.spec.classes))


def cases_with_masks(
    store: SliceStore, cases: Sequence[CaseSlices], fold: int, split: str = "test"
) -> list[CaseSlices]:
    """Return the cases that can be scored.

    Args:
        store: The slice store.
        cases: Those of a split.
        fold: Number of the fold, for the message.
        split: Name of the split, for the message.

    Raises:
        InputError: None of the cases has a mask.

    Example:
        >>> from pathlib import Path
        >>> store = SliceStore(Path(getfixture("tiny_store")))
        >>> masks_of(store).remove("f")
        >>> [case.id for case in cases_with_masks(store, store.split(0)["test"], fold=0)]
        ['g']
    """
    masks = masks_of(store)
    scored = [case for case in cases if case.id in masks]
    if not scored:
        raise InputError(
            f"{masks.folder}: no {split} case of fold {fold} has a mask, so nothing can be scored; "
            "prepare the store from data with masks, or use `wsseg predict`"
        )
    return scored
