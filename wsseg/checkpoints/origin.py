"""By which version of wsseg, and by which command, a model was made: kept in its checkpoints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from wsseg import __version__

PACKAGE = Path(__file__).parents[1]


class Origin(Callback):
    """Writes into each checkpoint the commands that have made it, and their versions of wsseg."""

    def __init__(self, command: str) -> None:
        """Set what is written.

        Args:
            command: The command that trains.
        """
        self.now = {"wsseg": code_version(), "command": command}
        self._earlier: list[dict[str, str]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what was done until now: the first command, and those that resumed it."""
        return {"commands": [*self._earlier, self.now]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the commands of the run that is resumed."""
        self._earlier = list(state_dict["commands"])


def origin_of(checkpoint: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the commands that have made a checkpoint, the first one first.

    Args:
        checkpoint: Content of the file.

    Returns:
        Of each the entries `wsseg` and `command`; empty if a script has trained.

    Example:
        >>> origin = Origin("wsseg fit --data.root STORE")
        >>> origin_of({"callbacks": {"Origin": origin.state_dict()}})[0]["command"]
        'wsseg fit --data.root STORE'
    """
    state = (checkpoint.get("callbacks") or {}).get(Origin.__name__) or {}
    return list(state.get("commands", ()))


def code_version() -> str:
    """Return the version of wsseg, with the commit where it is known.

    It is known if wsseg runs from a clone, or was installed from an address of git. A name that
    ends in `-dirty` says that files of the clone were changed.

    Example:
        >>> code_version().split()[0] == __version__
        True
    """
    commit = _commit_of_clone() or _commit_of_installation()
    return f"{__version__} ({commit})" if commit else __version__


def _commit_of_clone() -> str:
    if not _git("ls-files", "--error-unmatch", "__init__.py"):  # an environment in another clone
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _commit_of_installation() -> str:
    try:
        source = json.loads(distribution("wsseg").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return ""
    return str(source.get("vcs_info", {}).get("commit_id", ""))[:12]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
