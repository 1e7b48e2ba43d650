"""Settings of wandb for a run, given as environment variables unless the user has set them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = re.compile(r"(?:offline-)?run-\d+_\d+-(?P<id>.+)")


@contextmanager
def own_variables() -> Iterator[None]:
    """Undo at the end what :func:`describe_run` has set, before another run."""
    before = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def describe_run(root: str, checkpoint: str | None) -> None:
    """Keep wandb off the network, and name its run after the run's folder.

    If training resumes from a checkpoint in the folder, it gets the id of the folder's last wandb
    run: wandb joins parts with the same id, also if they are offline and uploaded later.

    Args:
        root: The run's folder.
        checkpoint: ``--ckpt_path``.
    """
    folder = Path(root).resolve()
    settings = {"MODE": "offline", "PROJECT": "wsseg", "NAME": folder.name}
    run = wandb_id(folder)
    if run and checkpoint and Path(checkpoint).resolve().is_relative_to(folder):
        settings["RUN_ID"] = run
    for name, value in settings.items():
        if not os.environ.get(f"WANDB_{name}"):  # wandb refuses empty ones with a traceback
            os.environ[f"WANDB_{name}"] = value


def wandb_id(folder: Path) -> str | None:
    """Return the id of the last wandb run in a run's folder; None if there is none.

    Args:
        folder: The run's folder.

    Example:
        >>> wandb_id(Path("a-folder-without-wandb")) is None
        True
    """
    match = FOLDER.fullmatch((folder / "wandb" / "latest-run").resolve().name)
    return match["id"] if match else None


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
