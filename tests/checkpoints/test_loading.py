"""Checkpoints: the module comes back as it was; everything else is refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from wsseg.checkpoints.loading import (
    find_checkpoint,
    load_module,
    only_lightning_reads,
)
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.utils.errors import InputError

SPEC = DataSpec(("FLAIR", "T1"), {"tumour": (1, 2, 4)}, "axial", 2.0, (32, 32))


def save_checkpoint(path: Path, **changes: Any) -> CamModule:
    """Write what a training of a small module writes, with changed entries."""
    torch.manual_seed(0)
    module = CamModule(SPEC.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    content = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "class_path": "wsseg.models.CamModule",
        "pytorch-lightning_version": pl.__version__,
        "epoch": 1,
        "global_step": 1,
    }
    torch.save(content | changes, path)
    return module


def test_module_comes_back_as_it_was(tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "last.ckpt").eval()
    loaded = load_module(tmp_path / "last.ckpt")
    assert isinstance(loaded, CamModule)
    assert not loaded.training
    assert loaded.spec == SPEC
    image, valid = torch.randn(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image, valid), module(image, valid))


def test_a_changed_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    module = save_checkpoint(path)
    content = bytearray(path.read_bytes())
    weight = module.state_dict()["network.encoder.blocks.0.0.weight"]
    place = content.index(weight.permute(0, 2, 3, 1).numpy().tobytes())  # as it lies in memory
    content[place] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refused(path)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_module(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_run_in_place_of_its_checkpoint(tmp_path: Path) -> None:
    assert f"is a folder; give the checkpoint in it ({tmp_path}/last.ckpt)" in refused(tmp_path)


def test_checkpoint_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state_dict={"weight": torch.zeros(1)})
    assert "does not fit" in refused(path)


def test_checkpoint_with_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    module = save_checkpoint(path)
    save_checkpoint(path, hyper_parameters={**module.hparams, "encoder": "mine"})
    assert "--model.encoder mine: unknown" in refused(path)


@pytest.mark.parametrize("name", ["hpc", "s3://bucket/last.ckpt", "registry:model"])
def test_what_only_lightning_can_find_is_left_to_it(name: str) -> None:
    assert only_lightning_reads(name)


def test_a_run_that_has_no_last_checkpoint_starts_anew_and_says_so(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"last\.ckpt: does not exist, so training starts from the"
    ):
        assert find_checkpoint("last", str(tmp_path), training=True) is None
    assert find_checkpoint("last", str(tmp_path), training=False) == str(tmp_path / "last.ckpt")


@pytest.mark.parametrize("address", ["http://host/last.ckpt", "HTTPS://host/last.ckpt"])
def test_web_addresses_are_refused(address: str) -> None:
    """Lightning would unpickle what it finds there, and cache it by the name of the file alone."""
    with pytest.raises(InputError, match="is a web address; download the file"):
        find_checkpoint(address, "RUN", training=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_instantiator": "pytorch_lightning.cli.instantiate_module"}, "names a function"),
        ({"finishing": None}, "earlier version of wsseg"),
    ],
)
def test_hyper_parameters_of_others_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Lightning imports what an instantiator's arguments name; other options would be defaults."""
    spec = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (32, 32)).to_dict()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.strategy.connect(CamModule(spec, widths=(4, 8), embedding_widths=(4, 8)))
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    assert isinstance(load_module(path), CamModule)
    content = torch.load(path, weights_only=True)
    saved = {**content["hyper_parameters"], **change}
    content["hyper_parameters"] = {k: v for k, v in saved.items() if v is not None}
    torch.save(content, path)
    with pytest.raises(InputError, match=message):
        load_module(path)


def test_what_to_install_for_a_checkpoint_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    path = tmp_path / "last.ckpt"
    module = save_checkpoint(path)
    save_checkpoint(path, hyper_parameters={**module.hparams, "encoder": "pretrained"})
    message = refused(path)
    assert message.startswith(f"{path}: pictures need the weights of a pretrained network")
    assert "does not fit this version" not in message
