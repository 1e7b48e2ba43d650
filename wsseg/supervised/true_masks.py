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

    def begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the masks."""
        self._masks = masks_of(data_of(trainer).store)

    def make(self, case: CaseSlices) -> Tensor:
        """Return the masks of a case; see :meth:`TargetSource.make`."""
        assert self._masks is not None
        return torch.from_numpy(np.array(self._masks[case.id])).float()
