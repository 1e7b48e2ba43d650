"""The folder in which a training run keeps its maps, and the processes that share it."""

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
    """The folder of the maps, and the place of this process among those that share it.

    Attributes:
        path: The folder.
        rank: Number of this process among those that see the same folder.
        size: Number of those processes.
        copies: Number of such folders: 1 if all machines see the same one, else one per machine.
        lock: Lock on the folder, held by the process that made it; None in the others.
    """

    path: Path
    rank: int = 0
    size: int = 1
    copies: int = 1
    lock: FileLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock out, which belongs to this process."""
        return {**self.__dict__, "lock": None}

    @property
    def owned(self) -> bool:
        """Whether this process makes and deletes the files of the folder, for all that share it."""
        return self.rank == 0


def open_map_folder(trainer: Any, parent: str | None, collective: Collective) -> MapFolder:
    """Make a folder for the maps of this run only.

    Args:
        trainer: The Lightning trainer.
        parent: Where the folder is made; by default ``cluster_maps`` in the trainer's root folder.
        collective: The processes; all must call this.

    Returns:
        The folder: the same for all processes if all machines see it, else one per machine.
    """
    path, lock = "", None
    with collective.together("making the folder of cluster maps"):
        if collective.rank == 0:
            root = Path(parent) if parent else _default_parent(trainer)
            root.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(root)
            path, lock = _make(root.absolute())
    folder = Path(collective.broadcast_text(path))
    not_seen = collective.sum(torch.tensor(0 if folder.is_dir() else 1))
    if not bool(not_seen):
        return MapFolder(folder, collective.rank, collective.size, lock=lock)
    folder = folder / f"node-{trainer.node_rank}"
    with collective.together("making the folder of cluster maps"):
        folder.mkdir(parents=True, exist_ok=True)
    return MapFolder(folder, trainer.local_rank, trainer.num_devices, trainer.num_nodes, lock)


def close_map_folder(folder: MapFolder) -> None:
    """Delete a folder of maps, and its parent if that is empty then.

    Args:
        folder: The folder; no process may be writing to it any more.
    """
    if folder.lock is not None:
        folder.lock.release()
        own = folder.path.parent if folder.copies > 1 else folder.path  # where the lock was made
        (own / LOCK).unlink(missing_ok=True)
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


def _delete_abandoned(root: Path) -> None:
    """Delete folders of processes that were killed: nobody holds their locks any more."""
    for left in (*root.glob("run-*"), *root.glob(".run-*")):
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
