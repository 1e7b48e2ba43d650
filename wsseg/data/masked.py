"""The slices of a validation or test split with their true masks; training slices have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsseg.data.dataset import ArrayFolder, CaseSlices, SliceDataset, gather
from wsseg.data.spec import Batch

MASK_FOLDER = "masks"


class MaskedSliceDataset(SliceDataset):
    """A :class:`SliceDataset` whose batches also hold ``mask`` [B, C, H, W] bool."""

    def __init__(self, root: Path, cases: Sequence[CaseSlices]) -> None:
        """Lay out the slices of the given cases, each of which has a mask.

        Args:
            root: The slice store.
            cases: The cases of the split.
        """
        super().__init__(root, cases)
        self.masks = ArrayFolder(root / MASK_FOLDER)

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the batch made of the given items, with its masks."""
        batch = super().__getitems__(items)
        batch["mask"] = gather(self.masks, self.places(items))
        return batch


def has_mask(root: Path, case: CaseSlices) -> bool:
    """Tell whether the store has a mask of the case."""
    return (root / MASK_FOLDER / f"{case.id}.npy").is_file()
