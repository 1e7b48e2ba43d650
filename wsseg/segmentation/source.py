"""What gives training batches the targets of a segmentation network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.data.datamodule import MRISliceDataModule, data_of
from wsseg.data.store import CaseSlices
from wsseg.utils.distributed import Collective, current_collective
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_keeper import MapKeeper


class TargetSource(pl.Callback):
    """Gives every training batch ``target`` [B, C, H, W], looked up by the index of its slices.

    The targets of all training cases are made when training starts, each process those of some
    cases; they lie on disk, a byte per pixel and class. Targets are attached when the batch is on
    its device, so augmentation that moves pixels belongs into ``training_step``. A subclass says
    how the maps of a case are made, see :meth:`make`.
    """

    def __init__(self) -> None:
        """Start without targets."""
        super().__init__()
        self.maps = MapKeeper()

    def check(self, data: MRISliceDataModule) -> None:
        """Refuse, before a run writes anything, what cannot be used.

        Args:
            data: What is trained on.
        """

    def begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Get what :meth:`make` needs; every process calls this once, before its first case."""

    def make(self, case: CaseSlices) -> Tensor:
        """Return the maps of a case, [S, C, H, W] in [0, 1], -1 where unknown.

        Args:
            case: One of the training cases.
        """
        raise NotImplementedError

    def end(self, pl_module: pl.LightningModule, collective: Collective) -> None:
        """Drop what :meth:`begin` got; every process calls this once, after its last case."""

    def targets(self, maps: Tensor) -> Tensor:
        """Return what a batch gets of the maps of its slices; by default the maps themselves."""
        return maps

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the targets of slices.

        Args:
            index: Ids of the slices, [B] int64.

        Returns:
            [B, C, H, W] in [0, 1], -1 at pixels without a target, such as all of a slice that is
            not trained on; None while there are no targets.
        """
        return None if self.maps.file is None else self.targets(self.maps.file.lookup_known(index))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the targets of all training slices."""
        data = data_of(trainer)
        cases = data.splits["train"]
        collective = current_collective(trainer.strategy.root_device)
        folder = self.maps.open(trainer, collective)
        count = max(case.first_index + len(case.tags) for case in cases)
        file = MapFile(folder.path, (count, len(data.spec.classes), *data.spec.size), version=0)
        with collective.together("making the file of targets"):
            if folder.owned:
                file.create()
        with collective.together("making targets"):
            self.begin(trainer, pl_module)
            with trainer.precision_plugin.forward_context():
                self._write(file, cases[folder.rank :: folder.size])
        self.maps.keep(file)
        self.end(pl_module, collective)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Give the batch its targets."""
        index = batch["index"]
        target = self.lookup(index)
        if target is not None:
            batch["target"] = target.to(index.device)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Delete the folder of maps."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Delete the folder of maps."""
        self._close()

    def _write(self, file: MapFile, cases: Sequence[CaseSlices]) -> None:
        for case in cases:
            file.write(case.first_index + torch.arange(len(case.tags)), self.make(case))

    def _close(self) -> None:
        self.maps.forget()  # a resumed run makes the same targets again
        self.maps.close()
