"""A first stage whose opinion is known, and slices in which it finds something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.data.spec import DataSpec
from wsseg.models import Finishing
from wsseg.segmentation import SegmentationModule, TargetSource

SPEC = DataSpec(("FLAIR", "T1"), {"tumour": (1,)}, "axial", None, (16, 16))


class Bright(pl.LightningModule):
    """Believes in what is bright in the first modality, and not to its symmetry."""

    finishing = Finishing(refinement=0.0)

    def __init__(self, spec: DataSpec, bias: float = 1.0) -> None:
        super().__init__()
        self.spec = spec
        self.bias = bias
        self.calls = 0

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        self.calls += 1
        slope = torch.linspace(0, 0.5, image.shape[-1])
        return torch.sigmoid(3 * (image[:, :1] - self.bias) + slope) * valid[:, None]


class Square(TargetSource):
    """The same target for every slice."""

    def lookup(self, index: Tensor) -> Tensor:
        target = torch.zeros(len(index), 1, 16, 16)
        target[:, :, 4:8, 4:8] = 1
        return target


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", size=16)


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkpoint that loads as :class:`Bright`."""
    path = tmp_path / "first.ckpt"
    torch.save({"state_dict": {}}, path)
    monkeypatch.setattr("wsseg.segmentation.pseudo_masks.load_module", lambda _: Bright(SPEC))
    return path


@pytest.fixture
def small() -> Callable[..., SegmentationModule]:
    """Makes a small segmentation module."""

    def make(**settings: object) -> SegmentationModule:
        return SegmentationModule(**{"spec": SPEC.to_dict(), "widths": (4, 8, 8), **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def square() -> TargetSource:
    return Square()


def make_trainer(folder: Path, epochs: int = 2, **more: Any) -> pl.Trainer:
    return quiet_trainer(max_epochs=epochs, num_sanity_val_steps=0, default_root_dir=folder, **more)
