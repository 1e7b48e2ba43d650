"""A run's folder, which holds all that belongs to the run, and what fills it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from lightning_fabric.plugins import CheckpointIO, TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.cli.seeding import StepSeeding
from wsseg.evaluation import CaseEvaluation
from wsseg.evaluation.results import CASES_FILE, METRICS_FILE
from wsseg.tracking.overlays import OverlayLogger
from wsseg.utils.errors import InputError
from wsseg.utils.files import replacing

CONFIG_FILE = "config.yaml"


class RunConfig(SaveConfigCallback):
    """Saves ``config.yaml`` of a training into the run's own folder, and shows it to loggers."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what the parser understood; testing leaves the file as training wrote it."""
        if stage != "fit" or getattr(trainer, "fast_dev_run", False):
            return
        config = self.config.clone()
        config["ckpt_path"] = None  # where it was continued from describes no run
        set_aside_scores(Path(trainer.default_root_dir))
        path = Path(trainer.default_root_dir) / self.config_filename
        with replacing(path) as part:
            self.parser.save(config, part, skip_none=False, overwrite=True, multifile=False)
        # The module logs its own settings only; runs differ in data, trainer and callbacks as well.
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # which lies beside the file
                logger.log_hyperparams(settings)


def in_its_folder(arguments: Sequence[str]) -> list[str]:
    """Return arguments that mean the folder in which a run's configuration lies now.

    The configuration holds the folder that the run was made in, where another run may be by now.

    Args:
        arguments: Of the command line. They stay as they are if they may name the run's folder
            themselves, if another configuration follows the run's, or if nothing is resumed.
    """
    given = dict(given_options(arguments))
    path = Path(given.get("--config", ""))
    named = {"--trainer", "--trainer.default_root_dir"} & set(given)
    if named or "--ckpt_path" not in given or path.name != CONFIG_FILE:
        return list(arguments)
    own = (
        [f"--trainer.default_root_dir={path.parent}"]
        if (path.parent / LAST_CHECKPOINT).is_file()
        else []
    )
    return [*arguments, *own]


def given_options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option of a command line with its value, given as ``--name value`` or with "="."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, sign, value = argument.partition("=")
        yield "--config" if option == "-c" else option, value if sign else following


def set_aside_scores(root: Path) -> None:
    """Rename the scores in a run's folder: of weights that are about to change."""
    for name in (METRICS_FILE, CASES_FILE):
        path = root / name
        if path.is_file():
            path.replace(path.with_stem(f"former_{path.stem}"))


def check_scored(root: Path, checkpoint: str, store: str, fold: int) -> None:
    """Refuse to put other scores where those of a run on its own held-out cases belong.

    Args:
        root: Where scores go.
        checkpoint: What to score.
        store: The store to score.
        fold: Its fold.

    Raises:
        InputError: The folder holds another run, or a run on another store that is still there, or
            another fold.
    """
    whole = Path(checkpoint).absolute()  # a link to a larger disk belongs to the run, too
    own = any(each.is_relative_to(root.resolve()) for each in (whole, whole.resolve()))
    if (root / LAST_CHECKPOINT).is_file() and Path(checkpoint).is_file() and not own:
        raise InputError(
            f"{root}: holds another run than {checkpoint}, and its scores would be overwritten; "
            "add --trainer.default_root_dir OTHER"
        )
    path = root / CONFIG_FILE
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = config.get("data", {})
    place, trained = Path(data.get("root", store)), data.get("fold", fold)
    if trained == fold and (place.resolve() == Path(store).resolve() or not place.exists()):
        return
    leaked = "" if trained == fold else " (its cases may have been trained on)"
    raise InputError(
        f"{root}: holds a run on {place}, fold {trained}; scores of {store}, fold {fold}, would "
        f"be taken for its own; add --trainer.default_root_dir OTHER{leaked}"
    )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and then renames.

    Lightning stages in the folder for temporary files, often another file system, from where the
    last step is a copy: a crash during it would destroy the previous ``last.ckpt``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(Path(path)) as part:
            torch.save(checkpoint, part)


class RunLogger(CSVLogger):
    """``logs/metrics.csv``, which a run that is continued carries on.

    Lightning's logger deletes what an earlier part of the run has logged.
    """

    def __init__(self, save_dir: str, version: str = "", keep_until: int = 0) -> None:
        """Choose the folder.

        Args:
            save_dir: The run's folder.
            version: Folder within ``logs``.
            keep_until: Step before which rows of an existing file are kept.
        """
        super().__init__(save_dir, name="logs", version=version)
        self._earlier = read_rows(Path(self.log_dir) / "metrics.csv", keep_until)

    @property
    def experiment(self) -> ExperimentWriter:
        """Return the writer of the file, which begins with the earlier rows."""
        writer = super().experiment
        if self._earlier and isinstance(writer, ExperimentWriter):  # the first process has one
            writer.metrics[:0], self._earlier = self._earlier, []
        return cast("ExperimentWriter", writer)


def read_rows(path: Path, until: int) -> list[dict[str, Any]]:
    """Read the rows of a ``metrics.csv`` that belong to earlier steps.

    Args:
        path: The file; it need not exist.
        until: Step before which rows are wanted.
    """
    if until <= 0 or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if int(row.get("step", until)) < until]


def run_callbacks(
    root: str, given: Sequence[Any], *, quiet: bool = False, saving: bool = True
) -> list[Callback]:
    """Return the callbacks that every run has, but for those that were given.

    Args:
        root: The run's folder.
        given: Callbacks of the user's.
        quiet: Leave out the progress bar.
        saving: Save checkpoints.
    """
    own: list[Callback] = []
    if not any(isinstance(each, ProgressBar) for each in given) and not quiet:
        own.append(RichProgressBar())
    for kind in (StepSeeding, CaseEvaluation, OverlayLogger):
        if not any(isinstance(each, kind) for each in given):
            own.append(kind())
    last = ModelCheckpoint(
        dirpath=root,
        filename="last",
        enable_version_counter=False,
        save_on_train_epoch_end=True,  # else the last epochs are lost where validation is rarer
    )
    if saving and all(getattr(each, "state_key", None) != last.state_key for each in given):
        own.append(last)
    return own


def run_plugins(given: Sequence[Any]) -> list[Any]:
    """Return the plugins of every run, but for those that were given.

    Args:
        given: Plugins of the user's.
    """
    chosen = any(isinstance(each, CheckpointIO) for each in given)
    return [] if chosen else [AtomicCheckpointIO()]
