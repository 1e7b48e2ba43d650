"""The folder of a run's cluster maps, and the processes that share it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wsseg.clustering.collective import Collective


@dataclass(frozen=True)
class MapFolder:
    """Where maps are kept, and how the processes share them.

    Attributes:
        path: The folder of the maps.
        rank: This process among those that see the same folder.
        size: Number of those processes.
        copies: Number of such folders (one per machine, unless machines share one).
    """

    path: Path
    rank: int = 0
    size: int = 1
    copies: int = 1


def open_map_folder(trainer: Any, folder: str | None, collective: Collective) -> MapFolder:
    """Make a folder of this run's own.

    Args:
        trainer: The Lightning trainer.
        folder: Its parent; by default ``cluster_maps`` in the trainer's root folder.
        collective: The processes; all must call this.

    Returns:
        The folder: one for all processes if all machines see the folder, else one per machine.
    """
    path = ""
    with collective.together("making the folder of cluster maps"):
        if collective.rank == 0:
            root = Path(folder) if folder else _default_root(trainer)
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            path = tempfile.mkdtemp(prefix=f"{_own_name()}{os.getpid()}-", dir=root.absolute())
    own = Path(collective.broadcast_text(path))
    blind = collective.sum(torch.tensor(0 if own.is_dir() else 1))
    if not bool(blind):
        return MapFolder(own, collective.rank, collective.size)
    own = own / f"node-{trainer.node_rank}"
    with collective.together("making the folder of cluster maps"):
        own.mkdir(parents=True, exist_ok=True)
    return MapFolder(own, trainer.local_rank, trainer.num_devices, trainer.num_nodes)


def close_map_folder(folder: MapFolder) -> None:
    """Delete the folder of this run, and its parent if nothing else is in it.

    Args:
        folder: The folder, with no process writing to it any more.
    """
    shutil.rmtree(folder.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.path.parent.rmdir()


def _own_name() -> str:
    """Return how the folders of all processes of this machine begin."""
    return f"run-{socket.gethostname()}-"


def _sweep(root: Path) -> None:
    """Delete what processes of this machine have left that were killed."""
    for left in root.glob(f"{_own_name()}*-*"):
        process = left.name.removeprefix(_own_name()).partition("-")[0]
        if process.isdecimal() and not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)


def _default_root(trainer: Any) -> Path:
    root = str(trainer.default_root_dir)
    remote = "://" in root and not root.startswith("file://")
    return Path(tempfile.gettempdir() if remote else root.removeprefix("file://")) / "cluster_maps"
