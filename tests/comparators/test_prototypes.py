"""Prototypes: which clusters become one, and what looks like them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.comparators.conftest import batch, small
from tests.training import quiet_trainer
from wsseg.comparators import PrototypeCam
from wsseg.comparators.prototype_clusters import (
    Prototypes,
    likeness,
    select_prototypes,
    spherical_clusters,
)
from wsseg.comparators.prototypes import _sample
from wsseg.models.cam_network import CamOutput


def test_clusters_are_directions() -> None:
    rays = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    points = torch.cat([rays[0] * torch.rand(50, 1) * 9, rays[1] * torch.rand(50, 1) * 9])
    centres = F.normalize(spherical_clusters(points + 1e-3, 2, seed=0), dim=1)
    assert centres.sort(dim=0).values[1].min() > 0.99
    assert len(spherical_clusters(points[:1], 5, seed=0)) == 1


def test_sure_clusters_are_the_class_and_doubtful_ones_around_it_the_context() -> None:
    inside, outside = torch.eye(3)[:2], torch.eye(3)
    score = torch.tensor([0.95, 0.5, 0.5, 0.99, 0.01])
    found = select_prototypes(inside, outside, score, 4, sure=0.9, unlikely=0.05)
    assert found.centres.shape == (2, 4, 3)
    assert found.used.tolist() == [[True, False, False, False], [True, False, False, False]]


def test_a_class_of_which_nothing_is_sure_has_its_best_cluster() -> None:
    centres = torch.eye(2)
    found = select_prototypes(centres, centres, torch.tensor([0.2, 0.3, 0, 0]), 2, 0.9, 0.05)
    assert found.used.tolist() == [[False, True], [False, False]]


def test_likeness_is_to_the_class_and_not_to_the_context() -> None:
    centres = torch.tensor([[[2.0, 0.0], [9.0, 9.0]], [[0.0, 5.0], [9.0, 9.0]]])
    used = torch.tensor([[True, False], [True, False]])
    features = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).T.reshape(1, 2, 1, 3)
    got = likeness(features, Prototypes(centres, used)).flatten()
    torch.testing.assert_close(got, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_steps": 3}])
def test_prototypes_are_made_once_at_the_end(
    limit: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = PrototypeCam.make_prototypes

    def spy(self: PrototypeCam, batches: object) -> None:
        calls.append(self.global_step)
        original(self, batches)

    monkeypatch.setattr(PrototypeCam, "make_prototypes", spy)
    trainer = quiet_trainer(default_root_dir=tmp_path, **limit)
    module = small(PrototypeCam)
    assert isinstance(module, PrototypeCam)
    trainer.fit(module, DataLoader([batch(), batch()], batch_size=None))
    assert calls == [limit.get("max_steps", 4)]
    assert module.used[:, 0].any(dim=1).all()
    assert torch.isfinite(module.centres).all()


def test_prototypes_are_made_of_what_the_teacher_sees() -> None:
    module, made = small(PrototypeCam), []
    assert isinstance(module, PrototypeCam)
    for _ in range(2):
        module.make_prototypes([batch()])
        made.append(module.centres.clone())
        for parameter in module.network.parameters():
            parameter.data += 1
    assert torch.equal(*made)


def test_a_tenth_of_the_maximum_parts_class_from_context_within_anatomy() -> None:
    level = torch.tensor([0.5, 0.15, 0.02, 0.02]).repeat_interleave(8)  # by column

    def network(image: torch.Tensor, valid: torch.Tensor) -> CamOutput:
        cam = level.logit().expand_as(image)
        return CamOutput(cam, cam.mean(dim=(2, 3))[None], level * valid[:, None])

    for inside, outside in _sample(network, [batch()]):
        torch.testing.assert_close(inside.unique(), torch.tensor([0.15, 0.5]))
        torch.testing.assert_close(outside.unique(), torch.tensor([0.02]))


def test_before_the_end_it_is_plain_cam() -> None:
    module, views = small(PrototypeCam).eval(), batch()
    with torch.no_grad():
        got = module(views["image"], views["valid"])
        cam = module.teacher(views["image"], views["valid"]).cam
    torch.testing.assert_close(got, torch.sigmoid(cam) * views["valid"][:, None])
