"""The segmentation module: the contract outside, the teacher and its corrections inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.segmentation.conftest import SPEC, make_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.spec import Batch
from wsseg.models import Optimisation
from wsseg.segmentation import SegmentationModule, TargetSource
from wsseg.utils.errors import InputError

Make = Callable[..., SegmentationModule]


def batch(slices: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    valid = torch.zeros(slices, 16, 16, dtype=torch.bool)
    valid[:, 2:14, 2:14] = True
    return {
        "image": torch.randn(slices, 2, 16, 16, generator=generator) * valid[:, None],
        "tags": torch.tensor([[1.0], [0.0]]).repeat(slices // 2, 1),
        "valid": valid,
        "index": torch.arange(slices),
        "case": torch.zeros(slices, dtype=torch.int64),
        "level": torch.zeros(slices, dtype=torch.int64),
    }


def test_probability_is_zero_outside_anatomy(small: Make) -> None:
    module, given = small().eval(), batch()
    probability = module(given["image"], given["valid"])
    assert probability.shape == (4, 1, 16, 16)
    inside = given["valid"][:, None]
    assert (probability[~inside] == 0).all()
    assert (probability[inside] > 0).all()


def test_a_decoder_on_an_encoder_can_be_asked_for(small: Make) -> None:
    module = small(encoder="unet", widths=(4, 8)).eval()
    assert type(module.network).__name__ == "DecoderNetwork"
    assert module(batch()["image"], batch()["valid"]).shape == (4, 1, 16, 16)
    with pytest.raises(InputError, match=r"--model.encoder vgg: unknown"):
        small(encoder="vgg")


def test_larger_slices_than_those_of_training_are_fine(small: Make) -> None:
    valid = torch.ones(1, 32, 48, dtype=torch.bool)
    assert small().eval()(torch.randn(1, 2, 32, 48), valid).shape == (1, 1, 32, 48)


def test_a_checkpoint_loads_as_what_it_is(
    small: Make, store: Path, square: TargetSource, tmp_path: Path
) -> None:
    module = small(targets=square)
    trainer = make_trainer(tmp_path)
    trainer.fit(module, MRISliceDataModule(str(store)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again: Any = load_module(tmp_path / "last.ckpt")
    assert type(again) is SegmentationModule
    assert again.spec == SPEC
    assert again.targets is None
    given = batch()
    expected = module.eval()(given["image"], given["valid"])
    torch.testing.assert_close(again(given["image"], given["valid"]), expected)


def test_it_learns_its_targets(
    small: Make, store: Path, square: TargetSource, tmp_path: Path
) -> None:
    module = small(targets=square, optimisation=Optimisation(lr=0.01, teacher_decay=0.5))
    module.augmentation = torch.nn.Identity()  # type: ignore[assignment]
    trainer = make_trainer(tmp_path, epochs=25)
    trainer.fit(module, MRISliceDataModule(str(store), batch_size=8))
    given = batch()
    probability = module.eval()(given["image"], given["valid"])[:, 0]
    target = torch.zeros(16, 16, dtype=torch.bool)
    target[4:8, 4:8] = True
    found = (probability > module.threshold) == target
    assert found[given["valid"]].float().mean() > 0.9


def test_targets_outside_anatomy_do_not_count(small: Make) -> None:
    module, given = small(symmetry=False, correction=0.0), batch()
    module.augmentation = torch.nn.Identity()  # type: ignore[assignment]
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    losses = []
    for outside in (0.0, 1.0):
        given["target"] = torch.where(given["valid"][:, None], 0.0, outside)
        losses.append(module.training_step(given, 0))
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("correct_from", "correction", "expected"), [(0.5, 1.0, {2, 3}), (0.0, 0.0, set())]
)
def test_targets_are_corrected_from_a_share_of_the_training_on(
    small: Make,
    store: Path,
    square: TargetSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    correct_from: float,
    correction: float,
    expected: set[int],
) -> None:
    epochs: set[int] = set()
    module = small(targets=square, correct_from=correct_from, correction=correction)

    def spy(target: torch.Tensor, *_: Any) -> torch.Tensor:
        epochs.add(module.current_epoch)
        return target

    monkeypatch.setattr("wsseg.segmentation.module.corrected", spy)
    make_trainer(tmp_path, epochs=4).fit(module, MRISliceDataModule(str(store)))
    assert epochs == expected


def test_drawn_targets_are_not_corrected(small: Make, store: Path, tmp_path: Path) -> None:
    """As many are drawn as there are slices, and a teacher that is sure of all is not asked."""
    module = small(targets=Drawn(), correct_from=0.0, correction=1.0)
    trainer = make_trainer(tmp_path, epochs=2)
    trainer.fit(module, MRISliceDataModule(str(store)))
    assert float(trainer.callback_metrics["train/corrected"]) == 0


class Drawn(TargetSource):
    """Targets that contradict themselves from pixel to pixel, all drawn by a person."""

    def lookup(self, index: torch.Tensor) -> torch.Tensor:
        return torch.arange(256).view(1, 1, 16, 16).remainder(2).float().repeat(len(index), 1, 1, 1)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        batch["corrected"] = batch["target"]


def test_training_without_targets_is_refused(small: Make, store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--model\.targets: is missing"):
        make_trainer(tmp_path).fit(small(), MRISliceDataModule(str(store)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"robustness": 1.5}, "--model.robustness 1.5: must be from 0 to 1"),
        ({"correction": -1.0}, "--model.correction -1: must be from 0 to 1"),
        ({"correct_from": 12}, "--model.correct_from 12: must be from 0 to 1"),
        ({"widths": (4, 8)}, "3 to 5 numbers of channels"),
        ({"widths": (4,) * 6}, "3 to 5 numbers of channels"),
    ],
)
def test_refuses(small: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**settings)
