"""The callback that gives training batches their true masks."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.data.datamodule import data_of
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
        self._shape: tuple[int, ...] = ()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the masks of all training cases.

        Raises:
            InputError: A training case has no mask.
        """
        data = data_of(trainer)
        masks = masks_of(data.store)
        for case in data.splits["train"]:
            if case.id not in masks:
                raise InputError(
                    f"{data.store.root}: training case {case.id} has no mask, which fully "
                    "supervised training needs; add it, or train experiments/quickstart.yaml, "
                    "which needs none"
                )
        self._cases = sorted(data.splits["train"], key=lambda case: case.first_index)
        self._shape = (len(data.spec.classes), *data.spec.size)
        self._masks = masks

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the masks of slices; see :meth:`TargetSource.lookup`."""
        if self._masks is None:
            return None
        target = torch.full((len(index), *self._shape), -1.0)
        starts = np.array([case.first_index for case in self._cases])
        for row, slice_ in enumerate(index.tolist()):
            position = int(np.searchsorted(starts, slice_, side="right")) - 1
            case = self._cases[position]
            number = slice_ - case.first_index
            if position >= 0 and number < len(case.tags):
                mask = np.array(self._masks[case.id][number])
                target[row] = torch.from_numpy(mask).float()
        return target
