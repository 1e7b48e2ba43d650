"""The overlay callback: what it draws and when, and that training does not notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.tracking.overlays import OverlayLogger, slice_name


class TinyModule(pl.LightningModule):
    """A network with batch norm, which would notice an extra pass in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)
        )

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        return torch.sigmoid(self.net(image)) * valid[:, None]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(
            self(batch["image"], batch["valid"]).mean((2, 3)), batch["tags"]
        )

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Maps(pl.Callback):
    """Stands for a clustering callback: it has maps of training slices, ignores the others."""

    def lookup(self, index: Tensor) -> Tensor | None:
        maps = (index % 4 > 1).float().view(-1, 1, 1, 1).repeat(1, 1, 16, 16)
        maps[index >= 12] = -1
        return maps


def slices(count: int, first: int, *, masks: bool) -> list[dict[str, Tensor]]:
    result = []
    for index in range(first, first + count):
        valid = torch.zeros(32, 32, dtype=torch.bool)
        valid[4:-4, 6:-6] = True
        item = {
            "image": torch.randn(2, 32, 32) * valid,
            "tags": torch.tensor([float(index % 2)]),
            "valid": valid,
            "index": torch.tensor(index),
            "case": torch.tensor(0),
        }
        if masks:
            item["mask"] = torch.zeros(1, 32, 32, dtype=torch.bool)
            item["mask"][:, 10:16, 10:16] = bool(index % 2)
        result.append(item)
    return result


def run(root: Path, *callbacks: pl.Callback, epochs: int = 5, **options: Any) -> TinyModule:
    pl.seed_everything(0, verbose=False)
    module = TinyModule()
    loaders = [
        DataLoader(slices(12, 0, masks=False), batch_size=4),  # type: ignore[arg-type]
        DataLoader(slices(8, 12, masks=True), batch_size=4),  # type: ignore[arg-type]
    ]
    trainer = quiet_trainer(
        max_epochs=epochs, default_root_dir=root, callbacks=list(callbacks), **options
    )
    trainer.fit(module, *loaders)
    return module


def test_pictures_appear_at_the_set_rate(tmp_path: Path) -> None:
    run(tmp_path, OverlayLogger(every_n_epochs=2, n_slices=3), Maps())
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    steps = [3, 6, 12, 15]  # after epochs 1, 2, 4 and 5 (the last) of three batches
    assert names == [
        f"overlays-{split}-{step:06d}.png" for split in ("train", "val") for step in steps
    ]


def test_loggers_get_the_pictures_instead(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path / "logs")
    run(tmp_path, OverlayLogger(every_n_epochs=9), epochs=1, logger=logger)
    assert not (tmp_path / "figures").exists()
    assert len(list((Path(logger.log_dir) / "figures").iterdir())) == 2


def test_training_does_not_notice(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain").state_dict()
    watched = run(tmp_path / "watched", OverlayLogger(1), Maps()).state_dict()
    assert all(torch.equal(plain[key], watched[key]) for key in plain)


def test_columns_follow_what_is_known(tmp_path: Path) -> None:
    run(tmp_path / "maps", OverlayLogger(1), Maps(), epochs=1)
    run(tmp_path / "bare", OverlayLogger(1), epochs=1)

    def width(run_name: str, split: str) -> int:
        return Image.open(tmp_path / run_name / "figures" / f"overlays-{split}-000003.png").width

    assert width("maps", "train") > width("bare", "train") + 100, "a column of cluster maps"
    assert width("bare", "val") > width("bare", "train") + 100, "a column of truth"
    assert width("maps", "val") == width("bare", "val"), "no map of slices not trained on"


def test_slices_are_tagged_and_spread(tmp_path: Path) -> None:
    callback = OverlayLogger(1, n_slices=4)
    run(tmp_path, callback, epochs=1)
    for split, low, high in (("train", 0, 12), ("val", 12, 20)):
        kept = [int(each["index"]) for each in callback._slices[split]]
        assert len(set(kept)) == 4
        assert all(low <= i < high and i % 2 for i in kept)
    assert {int(each["index"]) // 4 for each in callback._slices["val"]} == {3, 4}


def test_slices_of_a_store_have_the_names_of_its_files(tmp_path: Path) -> None:
    """Slices 10 and 11 of case b are items 6 and 7 of the store."""
    data = MRISliceDataModule(str(write_store(tmp_path / "store", size=16)))
    trainer = quiet_trainer(default_root_dir=tmp_path)
    assert slice_name(trainer, 1, 7) == "case 1\nslice 7"
    trainer.datamodule = data  # type: ignore[attr-defined]
    assert slice_name(trainer, 1, 7) == "b\nslice 11"


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"limit_val_batches": 0}])
def test_unusual_runs_do_not_break(tmp_path: Path, options: dict[str, Any]) -> None:
    run(tmp_path, OverlayLogger(1), epochs=1, **options)
    assert (tmp_path / "figures").exists() != ("fast_dev_run" in options)


def test_pictures_show_something(tmp_path: Path) -> None:
    run(tmp_path, OverlayLogger(1), Maps(), epochs=1)
    for path in (tmp_path / "figures").iterdir():
        assert np.asarray(Image.open(path)).std() > 10
