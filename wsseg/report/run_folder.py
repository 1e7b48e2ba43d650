"""What the folder of a run holds, as all sections of the report need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wsseg.checkpoints import CONFIG_FILE, LAST_CHECKPOINT
from wsseg.checkpoints.loading import load_module, read_checkpoint
from wsseg.data.datamodule import trained_on
from wsseg.data.spec import DataSpec
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.models.slice_module import SliceModule
from wsseg.utils.documents import read_document
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class RunFolder:
    """A training that has ended, or was interrupted.

    Attributes:
        path: Its folder.
        config: Content of ``config.yaml``; empty if a script of the user's has trained.
        checkpoint: Content of ``last.ckpt``.
        module: The trained module, on the CPU in evaluation mode.
        store: The store that it was trained on; None if it is not there any more.
        lacking: Why there is no store, and what to do; empty if there is one.
        splits: The cases of the store by split, without those of "val" and "test" that the
            checkpoint was trained on; empty without a store.
        leaked: Names of these cases.
    """

    path: Path
    config: dict[str, Any]
    checkpoint: dict[str, Any]
    module: SliceModule
    store: SliceStore | None
    lacking: str
    splits: dict[str, list[CaseSlices]]
    leaked: list[str]

    @property
    def spec(self) -> DataSpec:
        """How volumes become slices."""
        return self.module.spec

    @property
    def checkpoint_path(self) -> Path:
        """The file of the checkpoint."""
        return self.path / LAST_CHECKPOINT

    @property
    def fold(self) -> int:
        """The fold of the store that was trained."""
        return int(self.setting("data", "fold") or 0)

    @property
    def held_out(self) -> tuple[str, list[CaseSlices]]:
        """The split whose cases are shown as held out, and these cases: "test", or else "val"."""
        split = "test" if self.splits.get("test") else "val"
        return split, self.splits.get(split, [])

    def setting(self, *names: str) -> Any:
        """Return a setting of ``config.yaml``, None if it is not there.

        Args:
            *names: Keys, from the outermost to the innermost.
        """
        found: Any = self.config
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def read_run(path: Path, store: Path | None = None) -> RunFolder:
    """Read the folder of a run.

    Args:
        path: The folder.
        store: The store that it was trained on, if that is not where ``config.yaml`` says.

    Raises:
        InputError: There is no run at ``path``, a file of it cannot be used, or ``store`` is given
            and is no store, or one of other images.

    Example:
        >>> read_run(Path("nowhere"))
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: nowhere: does not exist; give the folder of a run...
    """
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise InputError(
            f"{path}: {problem}; give the folder of a run, which `wsseg fit` wrote to "
            "(--trainer.default_root_dir)"
        )
    checkpoint = path / LAST_CHECKPOINT
    if not checkpoint.is_file():
        raise InputError(
            f"{path}: holds no {LAST_CHECKPOINT}; give the folder of a run, or wait until its "
            "first epoch has ended"
        )
    settings = path / CONFIG_FILE
    config = read_document(settings) if settings.is_file() else {}
    module, content = load_module(checkpoint), read_checkpoint(checkpoint)
    data = config.get("data") or {}
    found, lacking = _find_store(store, data.get("root"), module.spec)
    splits = {} if found is None else found.split(int(data.get("fold") or 0))
    leaked = []
    for name in ("val", "test"):
        known = set(trained_on(content, splits.get(name, [])))
        leaked += sorted(known)
        if known:
            splits[name] = [case for case in splits[name] if case.id not in known]
    return RunFolder(path, config, content, module, found, lacking, splits, leaked)


def _find_store(
    given: Path | None, named: str | None, spec: DataSpec
) -> tuple[SliceStore | None, str]:
    """Return the store, or why there is none."""
    advice = "add --store STORE if it is somewhere else"
    if given is None and named is None:
        return None, f"The folder holds no {CONFIG_FILE} that names the store; {advice}."
    try:
        store = SliceStore(given or Path(str(named)))
    except InputError as error:
        if given is not None:
            raise
        return None, f"The store cannot be read ({error}); {advice}."
    same = all(
        list(getattr(store.spec, part)) == list(getattr(spec, part))
        for part in ("modalities", "classes", "size")
    )
    if same:
        return store, ""
    problem = f"{store.root}: holds other images than this run was trained on"
    if given is not None:
        raise InputError(f"{problem}; name another store with --store")
    return None, f"{problem}; {advice}."


def as_yaml(config: dict[str, Any]) -> str:
    """Return settings as they are shown."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
