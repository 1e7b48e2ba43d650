"""A crash while a checkpoint is written must not destroy the previous one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wsseg.checkpoints.saving import AtomicCheckpointIO


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
