"""Methods of which only an abstract is public learn something, if only a little, within seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.comparators.conftest import KINDS, SMALL
from tests.training import quiet_trainer
from wsseg.comparators import AfterCompressedEquivariance
from wsseg.data.spec import Batch, DataSpec
from wsseg.evaluation.pixel_precision import PixelAveragePrecision
from wsseg.models.slice_module import SliceModule

SPEC = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (32, 32)).to_dict()
# With 12, the map of seed 0 lies along two edges of the square, which tell the tag as well: the
# average precision is 0.10 (chance 0.05). With 20 the test passes.
EPOCHS = {AfterCompressedEquivariance: 20}
AFTER = [kind for kind in KINDS if kind.__name__.startswith("After")]


def slices(first: int, count: int = 8) -> tuple[Batch, torch.Tensor]:
    """Make noise with a bright square in every second slice, and where that is."""
    generator = torch.Generator().manual_seed(first)
    mask = torch.zeros(count, 1, 32, 32, dtype=torch.bool)
    for number in range(0, count, 2):
        y, x = torch.randint(4, 18, (2,), generator=generator).tolist()
        mask[number, :, y : y + 10, x : x + 10] = True
    valid = torch.ones(count, 32, 32, dtype=torch.bool)
    batch: Batch = {
        "image": torch.randn(count, 1, 32, 32, generator=generator) * 0.5 + 2.0 * mask,
        "tags": mask.flatten(1).any(dim=1, keepdim=True).float(),
        "valid": valid,
        "index": torch.arange(first, first + count),
        "case": torch.zeros(count, dtype=torch.int64),
        "level": torch.zeros(count, dtype=torch.int64),
    }
    return batch, mask


@pytest.mark.parametrize("kind", AFTER, ids=lambda kind: kind.__name__)
def test_a_tiny_training_is_better_than_chance(kind: type[SliceModule], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = kind(SPEC, **{**SMALL[kind], "widths": (8, 16)})
    batches = [slices(first)[0] for first in range(0, 32, 8)]
    trainer = quiet_trainer(max_epochs=EPOCHS.get(kind, 12), default_root_dir=tmp_path)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    batch, mask = slices(1000)
    with torch.no_grad():
        probability = module.eval()(batch["image"], batch["valid"])
    metric = PixelAveragePrecision(classes=1)
    metric.update(probability, mask, batch["valid"], batch["index"])
    (got,) = metric.compute()
    assert got is not None
    assert got > 3 * mask.float().mean()
