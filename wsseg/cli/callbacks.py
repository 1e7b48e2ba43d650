"""The callbacks that every run has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.evaluation import CaseEvaluation
from wsseg.evaluation.results import CASES_FILE, METRICS_FILE
from wsseg.models.seeding import StepSeeding
from wsseg.tracking.epoch_lines import EpochLines
from wsseg.tracking.overlays import OverlayLogger
from wsseg.utils.files import replacing


class ResumeHint(Callback):
    """Says how to resume a training that the user (Ctrl-C) or a queue (SIGTERM) has stopped."""

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print the option to add, if there is a checkpoint."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        last = Path(trainer.default_root_dir) / LAST_CHECKPOINT
        if stopped and trainer.state.fn == "fit" and trainer.is_global_zero and last.is_file():
            print(f"to resume, add --ckpt_path {last}", file=sys.stderr)


class RunConfig(SaveConfigCallback):
    """Saves ``config.yaml`` of a training into the run's own folder, and shows it to loggers."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what the parser understood; testing leaves the file as training wrote it."""
        if stage != "fit":
            return
        set_aside_scores(Path(trainer.default_root_dir))
        path = Path(trainer.default_root_dir) / self.config_filename
        with replacing(path) as part:
            self.parser.save(self.config, part, skip_none=False, overwrite=True, multifile=False)
        # The module logs its own settings only; runs differ in data, trainer and callbacks as well.
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # which lies beside the file
                logger.log_hyperparams(settings)


def set_aside_scores(root: Path) -> None:
    """Rename the scores in a run's folder: they are of weights that are about to change."""
    for name in (METRICS_FILE, CASES_FILE):
        path = root / name
        if path.is_file():
            path.replace(path.with_stem(f"former_{path.stem}"))


def run_callbacks(
    root: str, given: Sequence[Callback], *, quiet: bool = False, saving: bool = True
) -> list[Callback]:
    """Return the callbacks that every run has, but for those that were given.

    Args:
        root: The run's folder.
        given: Callbacks of the user's.
        quiet: Leave out the progress bar, which is a line per epoch where there is no terminal.
        saving: Save checkpoints.

    Example:
        >>> [type(each).__name__ for each in run_callbacks("RUN", [OverlayLogger()], quiet=True)]
        ['StepSeeding', 'CaseEvaluation', 'ResumeHint', 'ModelCheckpoint']
    """
    own: list[Callback] = []
    if not any(isinstance(each, ProgressBar) for each in given) and not quiet:
        own.append(RichProgressBar() if sys.stdout.isatty() else EpochLines())
    for kind in (StepSeeding, CaseEvaluation, OverlayLogger, ResumeHint):
        if not any(isinstance(each, kind) for each in given):
            own.append(kind())
    last = ModelCheckpoint(
        dirpath=root,
        filename=Path(LAST_CHECKPOINT).stem,
        enable_version_counter=False,
        save_on_train_epoch_end=True,  # else the last epochs are lost where validation is rarer
    )
    if saving and all(each.state_key != last.state_key for each in given):
        own.append(last)
    return own
