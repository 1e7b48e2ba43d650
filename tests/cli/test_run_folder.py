"""What a run leaves in its folder, and what it must not destroy there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.plugins import AsyncCheckpointIO

from tests.training import quiet_trainer
from wsseg.cli.run_folder import (
    AtomicCheckpointIO,
    RunLogger,
    in_its_folder,
    read_rows,
    run_callbacks,
    run_plugins,
)
from wsseg.tracking import OverlayLogger


def test_arguments_mean_the_folder_in_which_a_run_lies_now(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    own, last = f"--config={tmp_path}/config.yaml", f"--ckpt_path={tmp_path}/last.ckpt"
    root = f"--trainer.default_root_dir={tmp_path}"
    assert in_its_folder(["test", own, last]) == ["test", own, last, root]
    for others in (
        ["fit", own],  # a new run with the settings of an old one
        ["fit", own, last, "--trainer.default_root_dir=elsewhere"],
        ["fit", own, last, "--trainer", "{default_root_dir: elsewhere}"],
        ["fit", own, last, "--config=another.yaml"],
        ["test", "--config=experiments/config.yaml", last],
    ):
        assert in_its_folder(others) == others


def test_a_checkpoint_replaces_the_last_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    for value in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"value": value}, path)
    assert torch.load(path, weights_only=True) == {"value": 2}
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


def test_a_failed_checkpoint_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"value": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"value": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def log(folder: Path, steps: range, **more: Any) -> list[dict[str, Any]]:
    logger = RunLogger(str(folder), **more)
    for step in steps:
        logger.log_metrics({"loss": step / 2}, step)
    logger.save()
    return read_rows(folder / "logs" / "metrics.csv", 1000)


def test_logs_are_carried_on_from_the_checkpoints_step(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    rows = log(tmp_path, range(4, 8), keep_until=4)
    assert [int(row["step"]) for row in rows] == list(range(8))


def test_a_run_from_the_start_begins_a_new_log(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    assert len(log(tmp_path, range(2))) == 2


def test_scoring_logs_beside_the_training(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    assert len(log(tmp_path, range(1), version="test")) == 6
    assert (tmp_path / "logs" / "test" / "metrics.csv").is_file()


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


def test_a_given_way_of_writing_checkpoints_stays() -> None:
    assert run_plugins([AsyncCheckpointIO()]) == []
    assert isinstance(run_plugins([])[0], AtomicCheckpointIO)
