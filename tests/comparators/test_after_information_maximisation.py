"""Information, balance and borders of clusters, and that they train the embeddings."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.comparators.conftest import SPEC, batch
from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.comparators import AfterInformationMaximisation
from wsseg.comparators.after_information_maximisation import (
    boundary_loss,
    imbalance,
    neighbour_information,
)
from wsseg.models import Optimisation


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (1, -1), (0, 2)])
def test_information_is_that_of_all_pairs(down: int, right: int) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 2, 3, 4, 5, generator=generator).mul(3).softmax(dim=2).unbind()
    valid = torch.rand(2, 4, 5, generator=generator) < 0.8
    joint, pairs = torch.zeros(3, 3), 0
    for b, y, x in product(range(2), range(4 - down), range(5)):
        there = y + down, x + right
        if 0 <= x + right < 5 and valid[b, y, x] and valid[b, *there]:
            joint += torch.outer(one[b, :, y, x], other[b, :, *there])
            pairs += 1
    joint = (joint + joint.T) / 2 / pairs
    expected = 0.0
    for k, m in product(range(3), range(3)):
        chance = float(joint[k].sum() * joint[m].sum())
        expected += float(joint[k, m]) * math.log(float(joint[k, m]) / chance)
    got = neighbour_information(one, other, valid, down, right)
    assert float(got) == pytest.approx(expected, abs=1e-5)


def test_balance_is_best_where_clusters_are_equally_frequent() -> None:
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    equal = torch.eye(4).view(1, 4, 2, 2)
    assert imbalance(equal, valid).abs() < 1e-6
    alone = torch.zeros(1, 4, 2, 2)
    alone[:, 0] = 1
    assert float(imbalance(alone, valid)) == pytest.approx(math.log(4), abs=1e-4)


def test_borders_of_clusters_belong_at_borders_of_the_image() -> None:
    image = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)) * 0.1
    image[..., 12:] += 3

    def parted(column: int) -> torch.Tensor:
        side = (torch.arange(24) >= column).float().expand(1, 1, 24, 24)
        return torch.cat((side, 1 - side), dim=1)

    assert boundary_loss(parted(12), image) < boundary_loss(parted(5), image)


def test_it_trains_the_embeddings_without_tags_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small: dict[str, Any] = {"widths": (4, 8), "embedding_widths": (4, 8), "symmetry": False}
    small["optimisation"] = Optimisation(lr=1e-2)
    module = AfterInformationMaximisation(SPEC, 4, **small)
    views = batch()
    views["image"][:, :, 8:24] += 2
    losses = module.losses(views, views["image"])
    assert set(losses) == {
        *("classification", "suppression"),
        *("information", "balance", "boundary"),
    }
    parameters = list(module.reconstruction.encoder.parameters())
    tags = losses["classification"] + losses["suppression"]
    pulled = torch.autograd.grad(tags, parameters, retain_graph=True, allow_unused=True)
    assert pulled == (None,) * len(parameters)
    information = losses["information"] + losses["boundary"]
    assert torch.autograd.grad(information, parameters)[0].abs().max() > 0

    trainer = quiet_trainer(max_epochs=15, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([views, views], batch_size=None))
    assert module.losses(views, views["image"])["information"] < losses["information"] - 0.01
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert type(load_module(tmp_path / "last.ckpt")) is AfterInformationMaximisation


def test_pictures_have_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="trains embeddings, but those of pictures"):
        AfterInformationMaximisation(SPEC, widths=(4, 8), reconstruction_weight=0.0)
