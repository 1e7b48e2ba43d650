"""What every comparator has in common, whatever its method."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.comparators.conftest import KINDS, SMALL, SPEC, batch, small
from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.comparators import CrossModality, LayerCam, ReferenceCrs
from wsseg.data.augmentation import SliceAugmentation
from wsseg.models import CamModule
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.inference import predict_slices

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@each_kind
def test_gradients_are_finite_and_reach_the_first_layer(kind: type[SliceModule]) -> None:
    module = small(kind)
    view = module.augment(batch())
    losses = module.losses(view, view["image"])
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in module.network.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    first = next(module.network.parameters()).grad
    assert first is not None
    assert first.abs().max() > 0
    assert all(p.grad is None for p in module.teacher.parameters())


@each_kind
def test_trains_comes_back_and_predicts(kind: type[SliceModule], tmp_path: Path) -> None:
    module, given = small(kind), batch()
    before = next(module.network.parameters()).detach().clone()
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([batch(), batch()], batch_size=None))
    assert not torch.equal(before, next(module.network.parameters()))
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    again = load_module(tmp_path / "last.ckpt")  # how `wsseg predict` does it
    assert type(again) is kind
    predicted = predict_slices(again, given["image"], given["valid"], batch_size=3)
    assert predicted.shape == (4, 2, 32, 32)
    assert predicted.min() >= 0
    assert predicted.max() <= 1
    assert (predicted[~given["valid"][:, None].expand_as(predicted)] == 0).all()
    expected = module.eval()(given["image"], given["valid"])
    torch.testing.assert_close(predicted, expected.detach(), atol=1e-5, rtol=1e-4)


@each_kind
def test_predicts_slices_of_another_size_and_without_anatomy(kind: type[SliceModule]) -> None:
    module = small(kind).eval()
    valid = torch.zeros(2, 48, 32, dtype=torch.bool)
    valid[0, 10:40, 5:20] = True
    probability = module(torch.randn(2, 2, 48, 32) * valid[:, None], valid)
    assert probability.shape == (2, 2, 48, 32)
    assert torch.isfinite(probability).all()
    assert (probability[1] == 0).all()


@each_kind
def test_the_budget_is_that_of_plain_cam(kind: type[SliceModule]) -> None:
    """A comparison is worth nothing if the methods are trained with other settings."""
    if kind is ReferenceCrs:
        pytest.skip("has the authors' own")
    ours, module = inspect.signature(CamModule).parameters, kind(SPEC)
    assert module.hparams["encoder"] == ours["encoder"].default
    assert module.hparams["widths"] == ours["widths"].default
    assert module.optimisation == ours["optimisation"].default
    assert vars(module.augmentation) == vars(SliceAugmentation())
    assert kind.threshold == CamModule.threshold


@pytest.mark.parametrize("name", ["CrossModality", "FeatureDecomposition"])
def test_what_a_method_cannot_do_is_refused(name: str) -> None:
    kind = next(each for each in KINDS if each.__name__ == name)
    spec = SPEC | {"modalities": ["T1"], "classes": {"tumour": [1]}}
    with pytest.raises(ValueError, match=r"the data has only .*; prepare the store with more"):
        small(kind, spec)


def test_no_more_levels_than_slices_can_be_halved_for() -> None:
    with pytest.raises(
        ValueError, match=r"^--model\.widths: slices of 32 x 32 pixels have room for 6"
    ):
        LayerCam(SPEC, widths=(4,) * 7)


SYMMETRIC = [kind for kind in KINDS if kind not in (CrossModality, ReferenceCrs)]


@pytest.mark.parametrize("kind", SYMMETRIC, ids=lambda kind: kind.__name__)
def test_may_see_the_asymmetry_as_our_own_modules_do(
    kind: type[SliceModule], tmp_path: Path
) -> None:
    """So that a table can tell what a method is worth from what its input is worth."""
    module, given = kind(SPEC, **SMALL[kind], symmetry=True), batch()
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([batch(), batch()], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    assert again(given["image"], given["valid"]).shape == (4, 2, 32, 32)
    assert next(again.network.parameters()).shape[1] == 3 * 2


def test_networks_of_one_modality_refuse_the_asymmetry_of_all() -> None:
    with pytest.raises(ValueError, match="sees one modality only"):
        CrossModality(SPEC, symmetry=True)
