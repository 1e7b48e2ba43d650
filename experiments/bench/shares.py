"""What refreshing the clusters adds to an epoch of the quickstart, by stage."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
from synthetic import write_store
from timing import Row, row

from wsseg.clustering import ClusterReSupervision
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.models import CamModule

EPOCHS = 16  # of the quickstart
SLICES = 600  # as the phantom of `make benchmark` has for training
REFRESHES = 3  # of the quickstart: for epochs 4, 8 and 12


class Clock(pl.Callback):
    """Notes how long epochs take, without the refresh at their end, and the stages of refreshes."""

    def __init__(self, clustering: ClusterReSupervision) -> None:
        """Name the callback to watch; the trainer must call this one before it."""
        self.epochs: list[float] = []
        self.refreshes: list[dict[str, float]] = []
        self._clustering = clustering
        self._seen = 0
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        self._note()
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop before the refresh."""
        self.epochs.append(time.perf_counter() - self._start)

    def _note(self) -> None:
        maps = self._clustering.maps.file
        if maps is not None and maps.version > self._seen:
            self._seen = maps.version
            self.refreshes.append(dict(self._clustering.report))


def rows(scale: float) -> list[Row]:
    """Train four epochs at two sizes.

    Args:
        scale: Of the number of slices.
    """
    found = []
    for size in (128, 240):
        found += _share(size, max(64, int(SLICES * scale)))
    return found


def _share(size: int, slices: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        clock = _train(write_store(Path(folder) / "store", slices, size), Path(folder))
    epochs, name = clock.epochs[1:], f"{size} x {size}, {slices} slices"
    found = [row(f"{name}: epoch without refresh", epochs, note=f"batch 16, {len(epochs)} epochs")]
    stages = [key for key in clock.refreshes[0] if key.startswith("seconds_")]
    for stage in stages:
        values = [each[stage] for each in clock.refreshes]
        found.append(row(f"{name}: refresh, {stage.removeprefix('seconds_')}", values))
    epoch = found[0].value or 1.0
    medians = {stage: part.value or 0.0 for stage, part in zip(stages, found[1:], strict=True)}
    total = sum(medians.values())
    found.append(Row(f"{name}: refresh", total, note=f"{total / epoch:.1%} of an epoch"))
    first, *later = (sum(each[stage] for stage in stages) for each in clock.refreshes)
    share = 100 * (first + (REFRESHES - 1) * median(later)) / EPOCHS / epoch
    note = f"{REFRESHES} refreshes in {EPOCHS} epochs"
    return [*found, Row(f"{name}: share of training", share, "%", note=note)]


def _train(store: Path, folder: Path) -> Clock:
    pl.seed_everything(0, verbose=False)
    data = MRISliceDataModule(str(store))
    clustering = ClusterReSupervision(warmup_epochs=1, every_n_epochs=2)
    clock = Clock(clustering)
    trainer = pl.Trainer(
        max_epochs=5,
        callbacks=[clock, clustering],
        default_root_dir=folder,
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(CamModule(data.spec.to_dict()), data)
    return clock
