"""What the modules share: a teacher that only follows, and settings that travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.comparators import GradCam
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule, Finishing, Optimisation
from wsseg.models.slice_module import SliceModule
from wsseg.segmentation import SegmentationModule
from wsseg.utils.errors import InputError

SPEC = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", 2.0, (16, 16)).to_dict()
WIDTHS: dict[type[SliceModule], list[int]] = {
    CamModule: [4, 8],
    GradCam: [4, 8],
    SegmentationModule: [4, 8, 8],
}
KINDS = pytest.mark.parametrize("kind", WIDTHS, ids=lambda kind: kind.__name__)


def make(kind: type[SliceModule], **changed: Any) -> SliceModule:
    return kind(**{"spec": SPEC, "widths": WIDTHS[kind], **changed})  # type: ignore[arg-type]


def state(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


@KINDS
def test_the_teacher_only_follows(kind: type[SliceModule]) -> None:
    """Its normalisation must not learn from batches, such as those whose targets it corrects."""
    module = make(kind, optimisation=Optimisation(teacher_decay=0.5)).train()
    image, valid = torch.randn(2, 2, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool)
    before = {name: value.clone() for name, value in module.teacher.state_dict().items()}
    module(image, valid)
    after = module.teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())
    module.teacher.update_parameters(module.network)
    for value in state(module.network):
        value.data += 1
    module.teacher.update_parameters(module.network)
    for slow, fast in zip(state(module.teacher.module), state(module.network), strict=True):
        expected = fast - 2 / 11 if fast.is_floating_point() else fast  # counts are copied
        torch.testing.assert_close(slow, expected)


@KINDS
def test_the_teacher_predicts(kind: type[SliceModule]) -> None:
    module = make(kind).eval()
    image, valid = torch.randn(2, 2, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool)
    before = module(image, valid)
    for parameter in module.network.parameters():
        parameter.data += 1
    assert torch.equal(module(image, valid), before)


def fit(module: SliceModule, batches: int, **settings: Any) -> pl.Trainer:
    batch = Batch(
        image=torch.randn(4, 2, 16, 16),
        tags=torch.tensor([[0.0], [1.0], [0.0], [1.0]]),
        valid=torch.ones(4, 16, 16, dtype=torch.bool),
        index=torch.arange(4),
        case=torch.arange(4),
        level=torch.zeros(4, dtype=torch.int64),
    )
    trainer = quiet_trainer(max_epochs=1, **settings)
    trainer.fit(module, DataLoader([batch] * batches, batch_size=None))
    return trainer


def test_teacher_and_rate_follow_steps_of_the_optimiser_not_batches_or_epochs() -> None:
    module = make(CamModule)
    trainer = fit(module, 6, accumulate_grad_batches=3)
    assert int(module.teacher.n_averaged) == 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_every_precision_trains(precision: str) -> None:
    module = make(CamModule)
    fit(module, 2, precision=precision)
    assert all(bool(each.isfinite().all()) for each in module.teacher.parameters())


def test_weights_of_too_few_bits_to_be_averaged() -> None:
    with pytest.raises(InputError, match=r"precision bf16-true: .*; give bf16-mixed"):
        fit(make(CamModule), 2, precision="bf16-true")


def test_weights_of_few_bits_that_are_not_averaged() -> None:
    module = make(CamModule, optimisation=Optimisation(teacher_decay=0.0))
    fit(module, 2, precision="bf16-true")
    for old, new in zip(module.teacher.parameters(), module.network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_second_averaging_of_weights() -> None:
    with pytest.raises(InputError, match=r"StochasticWeightAveraging .*; leave it out"):
        fit(make(CamModule), 2, callbacks=[pl.callbacks.StochasticWeightAveraging(1e-3)])


@KINDS
def test_settings_travel_with_the_checkpoint(kind: type[SliceModule], tmp_path: Path) -> None:
    module = make(
        kind, finishing=Finishing(smallest_component=0.25), optimisation=Optimisation(lr=1)
    )
    trainer = quiet_trainer()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    assert type(again) is kind
    assert again.finishing == module.finishing
    assert again.optimisation == module.optimisation
    assert again.finishing.smallest_component == 0.25
    assert make(kind).finishing.smallest_component == 0.1


@KINDS
def test_only_plain_values_are_saved(kind: type[SliceModule]) -> None:
    """A checkpoint with classes would not load without running code."""
    saved = make(kind).hparams
    assert saved["finishing"]["smallest_component"] == 0.1
    assert saved["optimisation"] == {"lr": 2e-3, "weight_decay": 1e-4, "teacher_decay": 0.98}
    assert {"network", "augmentation", "targets"}.isdisjoint(saved)
