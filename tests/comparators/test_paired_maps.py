"""Pairs of maps: their scale and their losses."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.comparators.paired_maps import (
    PairedHeads,
    joint_min_max,
    training_tag_shares,
    weighted_cross_entropy,
    wrong_channel_loss,
)
from wsseg.data.datamodule import MRISliceDataModule


def test_a_pair_shares_its_scale() -> None:
    maps = torch.tensor([[1.0, 3.0], [2.0, 5.0]]).view(1, 1, 2, 1, 2)
    scaled = joint_min_max(maps).flatten()
    torch.testing.assert_close(scaled, torch.tensor([0.0, 0.5, 0.25, 1.0]))


def test_a_flat_map_is_no_division_by_zero() -> None:
    assert torch.equal(joint_min_max(torch.ones(1, 2, 2, 3, 3)), torch.zeros(1, 2, 2, 3, 3))


def test_weighted_cross_entropy_is_torchs() -> None:
    logits, weights = torch.randn(5, 2, 2), torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    tags = torch.tensor([[1.0, 0], [0, 0], [1, 1], [0, 1], [1, 0]])
    expected = [nn.CrossEntropyLoss(weights[c])(logits[:, c], tags[:, c].long()) for c in range(2)]
    got = weighted_cross_entropy(logits, tags, weights)
    torch.testing.assert_close(got, torch.stack(expected).mean())


def test_the_wrong_channel_is_suppressed() -> None:
    cam = torch.zeros(2, 1, 2, 4, 4)
    cam[0, :, 1] = cam[1, :, 0] = 1  # class where tagged, background elsewhere
    tags = torch.tensor([[1.0], [0.0]])
    assert wrong_channel_loss(cam, tags) == 0
    assert wrong_channel_loss(cam, 1 - tags) == 1


def test_heads_find_no_more_than_both_levels_do() -> None:
    heads = PairedHeads((3, 4), 2)
    maps = heads([torch.randn(2, 3, 8, 8), torch.zeros(2, 4, 2, 2)], (32, 32))
    assert maps.cam.shape == (2, 2, 2, 32, 32)
    assert (maps.cam == 0).all()  # the second level is flat


def test_shares_come_from_training_tags_alone(tmp_path: Path) -> None:
    trainer = quiet_trainer()
    assert training_tag_shares(trainer, 2).tolist() == [0.5, 0.5]
    data = MRISliceDataModule(str(write_store(tmp_path / "store", size=16, slices=7)))
    trainer.datamodule = data  # type: ignore[attr-defined]
    tags = torch.cat([case.tags for case in data.splits["train"]])
    torch.testing.assert_close(training_tag_shares(trainer, 1), tags.mean(dim=0))
