"""The folder of a run's maps, and the processes that share it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from wsseg.utils.distributed import Collective

LOCK = ".lock"


@dataclass(frozen=True)
class MapFolder:
    """Where maps are kept, and how the processes share them.

    Attributes:
        path: The folder of the maps.
        rank: Number of this process among those that see the same folder.
        size: Number of those processes.
        copies: Number of such folders (one per machine, unless machines share one).
        lock: Held for as long as the process that made the folder lives.
    """

    path: Path
    rank: int = 0
    size: int = 1
    copies: int = 1
    lock: FileLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock to the process that holds it."""
        return {**self.__dict__, "lock": None}

    @property
    def owned(self) -> bool:
        """Whether this process makes and deletes the folder's files for the others."""
        return self.rank == 0


def open_map_folder(trainer: Any, parent: str | None, collective: Collective) -> MapFolder:
    """Make a folder of this run's own.

    Args:
        trainer: The Lightning trainer.
        parent: Where the folder is made; by default ``cluster_maps`` in the trainer's root folder.
        collective: The processes; all must call this.

    Returns:
        The folder: one for all processes if all machines see the folder, else one per machine.
    """
    path, lock = "", None
    with collective.together("making the folder of cluster maps"):
        if collective.rank == 0:
            root = Path(parent) if parent else _default_parent(trainer)
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            path, lock = _make(root.absolute())
    own = Path(collective.broadcast_text(path))
    blind = collective.sum(torch.tensor(0 if own.is_dir() else 1))
    if not bool(blind):
        return MapFolder(own, collective.rank, collective.size, lock=lock)
    own = own / f"node-{trainer.node_rank}"
    with collective.together("making the folder of cluster maps"):
        own.mkdir(parents=True, exist_ok=True)
    return MapFolder(own, trainer.local_rank, trainer.num_devices, trainer.num_nodes, lock)


def close_map_folder(folder: MapFolder) -> None:
    """Delete the folder of this run, and its parent if nothing else is in it.

    Args:
        folder: The folder, with no process writing to it any more.
    """
    if folder.lock is not None:
        folder.lock.release()
        for place in (folder.path, folder.path.parent):
            (place / LOCK).unlink(missing_ok=True)
    shutil.rmtree(folder.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.path.parent.rmdir()


def _make(root: Path) -> tuple[str, FileLock]:
    """Make a folder, and lock it before others see it under its name."""
    hidden = Path(tempfile.mkdtemp(prefix=".run-", dir=root))
    lock = FileLock(hidden / LOCK)
    with contextlib.suppress(OSError, NotImplementedError):  # not all file systems have locks
        lock.acquire(timeout=0)
    path = hidden.with_name(hidden.name.removeprefix("."))
    return str(hidden.rename(path)), lock


def _sweep(root: Path) -> None:
    """Delete what processes that were killed have left: the kernel has given up their locks."""
    for left in root.glob("run-*"):
        if not (left / LOCK).is_file():
            continue
        with (
            contextlib.suppress(OSError, NotImplementedError, Timeout),
            FileLock(left / LOCK, timeout=0),
        ):
            shutil.rmtree(left, ignore_errors=True)


def _default_parent(trainer: Any) -> Path:
    root = str(trainer.default_root_dir)
    remote = "://" in root and not root.startswith("file://")
    return Path(tempfile.gettempdir() if remote else root.removeprefix("file://")) / "cluster_maps"
