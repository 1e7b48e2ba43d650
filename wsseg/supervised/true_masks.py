"""The callback that gives training batches their true masks."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.data.datamodule import MRISliceDataModule, data_of
from wsseg.data.masked import masks_of
from wsseg.data.store import CaseSlices
from wsseg.data.store_files import ArrayFolder
from wsseg.segmentation.source import TargetSource
from wsseg.utils.errors import InputError


class TrueMasks(TargetSource):
    """Targets from the masks of a store: what tags are measured against."""

    def __init__(self) -> None:
        """Start without masks."""
        super().__init__()
        self._masks: ArrayFolder | None = None
        self._cases: list[CaseSlices] = []
        self._starts = np.empty(0, np.int64)
        self._shape: tuple[int, ...] = ()

    def check(self, data: MRISliceDataModule) -> None:
        """Refuse training cases without masks.

        Raises:
            InputError: A training case has no mask.
        """
        masks = masks_of(data.store)
        for case in data.splits["train"]:
            if case.id not in masks:
                raise InputError(
                    f"{data.store.root}: training case {case.id} has no mask, which fully "
                    "supervised training needs; add it, or train experiments/quickstart.yaml, "
                    "which needs none"
                )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the masks, which are read where they lie: no copy could be left behind."""
        data = data_of(trainer)
        self._masks = masks_of(data.store)
        self._shape = (len(data.spec.classes), *data.spec.size)
        self._cases = sorted(data.splits["train"], key=lambda case: case.first_index)
        self._starts = np.array([case.first_index for case in self._cases])

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the masks of slices; see :meth:`TargetSource.lookup`."""
        if self._masks is None:
            return None
        target = torch.full((len(index), *self._shape), -1.0)
        for row, slice_ in enumerate(index.tolist()):
            position = int(np.searchsorted(self._starts, slice_, side="right")) - 1
            case = self._cases[position]
            number = slice_ - case.first_index
            if position >= 0 and number < len(case.tags):
                mask = np.array(self._masks[case.id][number])
                target[row] = torch.from_numpy(mask).float()
        return target

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the masks."""
        self._masks = None
