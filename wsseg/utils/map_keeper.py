"""Keeps the maps of a training run: in a file during training, compressed in memory afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsseg.utils.distributed import Collective
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_folder import MapFolder, close_map_folder, open_map_folder


class MapKeeper:
    """Keeps a relevance map for every training slice.

    Attributes:
        folder: Folder of the file; None before :meth:`open` and after :meth:`close`.
        file: The maps during training; None before the first ones are made.

    Example:
        >>> from types import SimpleNamespace
        >>> trainer = SimpleNamespace(default_root_dir=getfixture("tmp_path"))
        >>> keeper = MapKeeper()
        >>> maps = MapFile(keeper.open(trainer, Collective()).path, (1, 1, 1, 2), version=1)
        >>> maps.create(), maps.write(torch.tensor([0]), torch.tensor([[[[0.0, 1.0]]]]))
        (None, None)
        >>> keeper.keep(maps), keeper.close()  # the file is deleted; the maps stay in memory
        (None, None)
        >>> keeper.lookup(torch.tensor([0]))
        tensor([[[[0., 1.]]]])
    """

    def __init__(self, parent: str | None = None) -> None:
        """Start without maps.

        Args:
            parent: Where folders of maps are made; by default ``cluster_maps`` in the trainer's
                root folder.
        """
        self.folder: MapFolder | None = None
        self.file: MapFile | None = None
        self._parent = parent
        self._packed: dict[str, Any] = {}  # the maps when there is no file, and for checkpoints

    def open(self, trainer: Any, collective: Collective) -> MapFolder:
        """Make a folder for this training.

        Args:
            trainer: The Lightning trainer.
            collective: The processes; all must call this.
        """
        self.folder = open_map_folder(trainer, self._parent, collective)
        return self.folder

    def restore(self) -> None:
        """Write the file again from a checkpoint, or from an earlier training with this object."""
        if self._packed and self.folder is not None:
            self.file = self._unpack(self.folder.path, owned=self.folder.owned)

    def keep(self, file: MapFile) -> None:
        """Replace the maps by new ones, and delete the file of the former ones.

        Args:
            file: The new maps; no process may be writing to them any more.
        """
        former, self.file = self.file, file
        if former is not None and self.folder is not None and self.folder.owned:
            former.remove()

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return the maps of slices, also after training.

        After training only process 0 still has the maps, and each call unpacks all of them; ask
        for many slices at once.

        Args:
            index: Ids of the slices, [B] int64.

        Returns:
            [B, C, h, w] in [0, 1], or ``IGNORE`` where unknown and in slices that are not trained
            on; None if there are no maps.
        """
        if self.file is not None:
            return self.file.lookup_known(index)
        if not self._packed or not len(self._packed["maps"]):
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._unpack(Path(folder)).lookup_known(index)

    def close(self) -> None:
        """Delete folder and file; process 0 keeps the maps in memory, compressed."""
        if self.folder is None:
            return
        self._packed, self.file = self.state_dict(), None
        if self.folder.owned:
            close_map_folder(self.folder)
        self.folder = None

    def forget(self) -> None:
        """Discard the maps."""
        self._packed, self.file = {}, None

    def state_dict(self) -> dict[str, Any]:
        """Return the maps for a checkpoint; only the process that owns the folder includes them."""
        if self.file is not None and self._packed.get("version") != self.file.version:
            owned = self.folder is not None and self.folder.owned
            maps = self.file.pack() if owned else torch.empty(0, dtype=torch.uint8)
            shape, version = list(self.file.shape), self.file.version
            self._packed = {"version": version, "shape": shape, "maps": maps}
        return self._packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the maps of a checkpoint; :meth:`restore` writes their file."""
        self._packed = state_dict

    def _unpack(self, folder: Path, owned: bool = True) -> MapFile:
        count, classes, height, width = self._packed["shape"]
        file = MapFile(folder, (count, classes, height, width), self._packed["version"])
        if owned:
            file.unpack(self._packed["maps"])
        return file
