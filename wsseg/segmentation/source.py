"""What gives training batches the targets of a segmentation network."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from wsseg.data.datamodule import MRISliceDataModule


class TargetSource(pl.Callback):
    """Gives every training batch ``target`` [B, C, H, W], looked up by the index of its slices.

    Targets are attached when the batch is on its device, so augmentation that moves pixels belongs
    into ``training_step``. A subclass says what the targets of slices are, see :meth:`lookup`.
    """

    def check(self, data: MRISliceDataModule) -> None:
        """Refuse, before a run writes anything, what cannot be used.

        Args:
            data: What is trained on.
        """

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the targets of slices.

        Args:
            index: Ids of the slices, [B] int64.

        Returns:
            [B, C, H, W] in [0, 1], -1 at pixels without a target, such as all of a slice that is
            not trained on; None while there are no targets.
        """
        raise NotImplementedError

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Give the batch its targets."""
        device, index = batch["index"].device, batch["index"].cpu()
        target = self.lookup(index)
        if target is not None:
            batch["target"] = target.to(device)
