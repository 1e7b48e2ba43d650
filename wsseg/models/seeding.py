"""Randomness of training that depends on nothing but seed and step."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class StepSeeding(pl.Callback):
    """Seeds torch before every training step by the step's number.

    A resumed run then draws the augmentation and the masks that an uninterrupted one would have
    drawn, to the bit. Processes that train together have the same seed, since
    :func:`~wsseg.utils.global_batch.drawn` draws for the slices of all of them.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step; ``seed_everything`` gives the first part of the seed."""
        base = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        step = trainer.fit_loop.total_batch_idx
        sequence = np.random.SeedSequence((base, step, 0))
        torch.manual_seed(int(sequence.generate_state(1)[0]))
