"""What wandb is told of a run, by its own variables, which a user's settings precede."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = re.compile(r"(?:offline-)?run-\d+_\d+-(?P<id>.+)")


@contextmanager
def own_variables() -> Iterator[None]:
    """Undo at the end what :func:`describe_run` sets: a process may continue with another run."""
    before = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - before.keys():
            del os.environ[name]


def describe_run(root: str, checkpoint: str | None) -> None:
    """Keep wandb off the network, and give its run the name of the run's folder.

    What resumes from a checkpoint of the folder resumes its wandb run, too: wandb joins the
    parts of one id, also when it uploads offline ones.

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
        os.environ.setdefault(f"WANDB_{name}", value)


def wandb_id(folder: Path) -> str | None:
    """Return the id of the last wandb run in a run's folder.

    Args:
        folder: The run's folder.
    """
    found = FOLDER.fullmatch((folder / "wandb" / "latest-run").resolve().name)
    return found["id"] if found else None


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
