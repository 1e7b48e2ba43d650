"""The folder of a run: a new one for each training, unless the user names one."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from shlex import quote

from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from wsseg.checkpoints import CONFIG_FILE, LAST_CHECKPOINT
from wsseg.cli.processes import launched
from wsseg.tracking.run_logger import LOGS
from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable, lock, lock_holder

NEW_FOLDER = "runs/DATE_TIME"
"""Stands for a new folder; the default of ``--trainer.default_root_dir``."""

LATEST = Path("runs/latest")
"""A link to the newest run in ``runs``."""

SHARED = "WSSEG_RUN"  # tells processes that this one starts in which folder it is


def in_its_folder(options: Sequence[str]) -> list[str]:
    """Add the folder that a run's ``config.yaml`` or checkpoint means.

    The configuration names the folder in which the run was made. It may have been moved since, and
    another run may be there now. So with a checkpoint the folder is that in which the file lies
    now, and without one a new folder: the settings of an old run make a new one.

    Args:
        options: Options of the command line. They are returned unchanged if they name the run's
            folder, or neither the configuration nor the checkpoint of a run.

    Example:
        >>> in_its_folder(["--config", "experiments/quickstart.yaml"])
        ['--config', 'experiments/quickstart.yaml']
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", default="")
    parser.add_argument("--ckpt_path")
    parser.add_argument("--trainer", "--trainer.default_root_dir", dest="root")
    given, _ = parser.parse_known_args(options)
    path = Path(given.config)
    is_of_run = path.name == CONFIG_FILE and (path.parent / LAST_CHECKPOINT).is_file()
    if given.root or not is_of_run:
        return list(options)
    return [
        *options,
        f"--trainer.default_root_dir={path.parent if given.ckpt_path else NEW_FOLDER}",
    ]


@contextmanager
def lock_run(root: Path) -> Iterator[None]:
    """Keep the folder of a training locked; process 0 does so for all.

    Args:
        root: The folder.

    Raises:
        InputError: Another training is in the folder, and would mix its files with those of this.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    folder = root.resolve()  # a link to the folder is the same folder
    run = folder.with_name(f"{folder.name}.fit")  # benchmarks lock the folder itself
    with lock(run, wait=False) as free:
        if not free:
            raise InputError(
                f"{root}: {lock_holder(run)} is training there; wait until it has finished, or "
                "name another folder with --trainer.default_root_dir"
            )
        yield


def former_folder(checkpoint: str | None) -> str | None:
    """Return the folder of the run that a checkpoint is of, if it is known.

    Args:
        checkpoint: ``--ckpt_path``; ``last`` is that of the newest run in ``runs``.

    Example:
        >>> former_folder("somewhere/else.ckpt") is None
        True
    """
    if checkpoint == "last" and LATEST.is_dir():
        return str(LATEST.parent / LATEST.readlink() if LATEST.is_symlink() else LATEST)
    if checkpoint and (Path(checkpoint).parent / CONFIG_FILE).is_file():
        return str(Path(checkpoint).parent)
    return None


@contextmanager
def new_folder(nodes: int = 1) -> Iterator[str]:
    """Make a folder in ``runs`` that is named by the time; it is removed if it stays empty.

    Processes that start inside of the block take the same folder.

    Args:
        nodes: Number of machines of the trainer.

    Raises:
        InputError: Other processes, which this one did not start, would make folders of their own;
            or no folder can be made.
    """
    if SHARED in os.environ:
        yield os.environ[SHARED]
        return
    launcher, processes = launched()
    if nodes > 1 or processes > 1:
        many = processes > 1
        who = f"{processes} processes of {launcher}" if many else f"processes of {nodes} nodes"
        raise InputError(
            f"--trainer.default_root_dir: is missing; the {who} must all write to one folder, so "
            "name it"
        )
    check_writable(LATEST.parent)
    folder = make_folder(f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    os.environ[SHARED] = str(folder)
    try:
        yield str(folder)
    finally:
        del os.environ[SHARED]
        for empty in (folder, folder.parent):
            with suppress(OSError):
                empty.rmdir()


def make_folder(name: str) -> Path:
    """Make a folder that no other process makes, also if several start in the same second."""
    for number in count(1):
        folder = LATEST.with_name(name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


def check_unused(root: Path) -> None:
    """Refuse to replace a run by another.

    Args:
        root: Folder in which a training is to begin.

    Raises:
        InputError: It holds the checkpoint of a run.
    """
    if (root / LAST_CHECKPOINT).is_file():
        raise InputError(
            f"{root}: holds a run, which would be replaced; add --ckpt_path last to resume it, or "
            "leave out --trainer.default_root_dir to train in a new folder"
        )


def link_latest(root: Path) -> None:
    """Make ``runs/latest`` a link to a run, if it is in ``runs``.

    Args:
        root: The run's folder.
    """
    if root.absolute().parent != LATEST.parent.absolute() or root.name == LATEST.name:
        return
    part = LATEST.with_name(f".part-{LATEST.name}")
    try:
        part.unlink(missing_ok=True)
        part.symlink_to(root.name)
        part.replace(LATEST)
    except OSError as error:  # such as a folder of this name, or no links on this file system
        part.unlink(missing_ok=True)
        rank_zero_warn(f"{LATEST}: cannot be made a link to the newest run ({error.strerror})")


@contextmanager
def removed_if_refused(root: Path) -> Iterator[None]:
    """Remove what a new training has written if it is refused before it saves a checkpoint.

    Args:
        root: The run's folder. What it held before stays.

    Raises:
        InputError: What the block raises.
    """
    written = [path for path in (root / CONFIG_FILE, root / LOGS) if not path.exists()]
    try:
        yield
    except InputError:
        if not (root / LAST_CHECKPOINT).exists():
            if LATEST.is_symlink() and LATEST.resolve() == root.resolve():
                LATEST.unlink()
            for path in written:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
                root.rmdir()
        raise


def next_commands(root: Path) -> str:
    """Return what to type after a training.

    Args:
        root: The run's folder.

    Example:
        >>> print(next_commands(Path("RUN")))
        score it (needs masks): wsseg test --config RUN/config.yaml --ckpt_path RUN/last.ckpt
        predict with it: wsseg predict --ckpt_path RUN/last.ckpt --input IMAGES --output MASKS
    """
    last, config = (quote(str(root / name)) for name in (LAST_CHECKPOINT, CONFIG_FILE))
    return (
        f"score it (needs masks): wsseg test --config {config} --ckpt_path {last}\n"
        f"predict with it: wsseg predict --ckpt_path {last} --input IMAGES --output MASKS"
    )
