"""The callback that keeps the cluster maps of a few slices, of every refresh."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.clustering.callback import clusterings_of


class KeptMaps(NamedTuple):
    """The cluster maps of a refresh.

    Attributes:
        epoch: Epoch for which they were made, from 1.
        targets: [n, C, h, w]: 1 relevant, 0 irrelevant, -1 open.
    """

    epoch: int
    targets: NDArray[np.int8]


class MapHistory(pl.Callback):
    """Keeps the cluster maps of the same few tagged slices, so that they can be compared later.

    They are part of the checkpoint, a few kilobytes for each refresh, and ``wsseg report`` shows
    them. The slices are the first of training that are tagged, each of another case. Batches must
    be those of a slice store.
    """

    def __init__(self, n_slices: int = 4) -> None:
        """Set how many slices are kept.

        Args:
            n_slices: Number of slices.
        """
        super().__init__()
        self.n_slices = n_slices
        self._index: list[int] = []
        self._cases: list[int] = []  # of these slices
        self._kept: list[dict[str, Any]] = []
        self._version: int | None = None  # of the maps that were kept last

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Choose the slices, each of another case."""
        if len(self._index) == self.n_slices or self._kept:
            return
        tagged = (batch["tags"] > 0.5).any(dim=1)
        index = batch["index"][tagged].tolist()
        for number, case in zip(index, batch["case"][tagged].tolist(), strict=True):
            if case not in self._cases and len(self._index) < self.n_slices:
                self._index.append(number)
                self._cases.append(case)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Keep the maps of a refresh that came before the first batch."""
        self._keep(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the maps of a refresh that came after the last batch."""
        self._keep(trainer, trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the slices and their maps."""
        slices = {"index": self._index, "cases": self._cases}
        return {**slices, "kept": self._kept, "version": self._version}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the slices and maps of a checkpoint."""
        self._index, self._cases = list(state_dict["index"]), list(state_dict["cases"])
        self._kept, self._version = list(state_dict["kept"]), state_dict["version"]

    def _keep(self, trainer: pl.Trainer, epoch: int) -> None:
        callback = next(iter(clusterings_of(trainer)), None)
        if callback is None or not (self._index and trainer.is_global_zero):
            return
        file = callback.maps.file
        if file is None or file.version == self._version:
            return
        self._version = file.version
        targets = callback.lookup(torch.tensor(self._index))
        if targets is not None:
            packed = zlib.compress(targets.to(torch.int8).contiguous().numpy().tobytes())
            maps = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
            shape = list(targets.shape)
            self._kept.append({"epoch": epoch + 1, "shape": shape, "maps": maps})


def kept_maps(state: Mapping[str, Any]) -> tuple[list[int], list[KeptMaps]]:
    """Return the slices and maps that the state of a :class:`MapHistory` holds.

    Args:
        state: From a checkpoint; may be empty.

    Returns:
        Ids of the slices, and their maps by refresh, the first refresh first.
    """
    found = []
    for entry in state.get("kept", ()):
        maps: Tensor = entry["maps"]
        targets = np.frombuffer(zlib.decompress(maps.numpy().tobytes()), np.int8)
        found.append(KeptMaps(int(entry["epoch"]), targets.reshape(entry["shape"])))
    return list(state.get("index", ())), found
