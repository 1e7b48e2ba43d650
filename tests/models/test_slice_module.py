"""What the modules share: a teacher that only follows, and settings that travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from wsseg.comparators import GradCam
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.checkpoint import load_module
from wsseg.segmentation import SegmentationModule

SPEC = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", 2.0, (16, 16)).to_dict()
WIDTHS: dict[type[SliceModule], list[int]] = {
    CamModule: [4, 8],
    GradCam: [4, 8],
    SegmentationModule: [4, 8, 8],
}
KINDS = pytest.mark.parametrize("kind", WIDTHS, ids=lambda kind: kind.__name__)


def make(kind: type[SliceModule], **changed: Any) -> SliceModule:
    return kind(**{"spec": SPEC, "widths": WIDTHS[kind], **changed})  # type: ignore[arg-type]


@KINDS
def test_the_teacher_never_learns_from_a_batch(kind: type[SliceModule]) -> None:
    module = make(kind, teacher_decay=0.5).train()
    assert module.network.training
    assert not any(part.training for part in module.teacher.modules())
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())
    before = [parameter.clone() for parameter in module.teacher.parameters()]
    for parameter in module.network.parameters():
        parameter.data += 1
    for _ in range(2):  # the first update copies
        module.on_train_batch_end(None, {}, 0)  # type: ignore[typeddict-item]
    for old, new in zip(before, module.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 1, atol=1e-5)


@KINDS
def test_settings_travel_with_the_checkpoint(kind: type[SliceModule], tmp_path: Path) -> None:
    module = make(kind, smallest_component=0.25)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    assert type(again) is kind
    assert again.smallest_component == 0.25
    assert make(kind).smallest_component == 0.1


@KINDS
@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range(kind: type[SliceModule], share: float) -> None:
    with pytest.raises(ValueError, match="smallest_component must be from 0 to 1"):
        make(kind, smallest_component=share)
