"""The callbacks that every run has."""

from __future__ import annotations

from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.demos.boring_classes import BoringModel

from tests.training import quiet_trainer
from wsseg.cli.callbacks import run_callbacks
from wsseg.tracking import OverlayLogger


def test_given_callbacks_take_the_place_of_the_own_ones() -> None:
    given = [TQDMProgressBar(), OverlayLogger(n_slices=1), ModelCheckpoint(monitor="train/loss")]
    own = run_callbacks("run", given)
    assert not any(isinstance(each, ProgressBar | OverlayLogger) for each in own)
    assert [each.dirpath for each in own if isinstance(each, ModelCheckpoint)]


def test_the_last_epoch_is_saved_where_validation_is_rarer(tmp_path: Path) -> None:
    module = BoringModel()
    trainer = quiet_trainer(
        enable_checkpointing=True,
        max_epochs=3,
        check_val_every_n_epoch=2,
        limit_train_batches=1,
        limit_val_batches=1,
        callbacks=[
            each for each in run_callbacks(str(tmp_path), []) if isinstance(each, ModelCheckpoint)
        ],
    )
    trainer.fit(module)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 2
