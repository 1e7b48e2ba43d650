"""The callbacks that wsseg adds to every run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.checkpoints.origin import code_version
from wsseg.cli.run_folder import link_latest
from wsseg.evaluation import CaseEvaluation, MapAgreement, SuspiciousTags
from wsseg.evaluation.results import CASES_FILE, METRICS_FILE
from wsseg.models.seeding import StepSeeding
from wsseg.tracking.cluster_tables import ClusterTables
from wsseg.tracking.epoch_lines import EpochLines
from wsseg.tracking.map_history import MapHistory
from wsseg.tracking.overlays import OverlayLogger
from wsseg.utils.files import replacing

TARGETS_OF = "model.init_args.targets.init_args"
PATHS = ("data.root", "data.corrections", f"{TARGETS_OF}.checkpoint")  # name files


class ResumeHint(Callback):
    """Prints how to resume a training that Ctrl-C, a queue (SIGTERM) or a full disk has stopped."""

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print the option to add, if there is a checkpoint."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException | OSError)
        last = Path(trainer.default_root_dir) / LAST_CHECKPOINT
        if stopped and trainer.state.fn == "fit" and trainer.is_global_zero and last.is_file():
            print(f"to resume, add --ckpt_path {last}", file=sys.stderr)


class RunConfig(SaveConfigCallback):
    """Saves ``config.yaml`` of a training into the run's folder, and gives it to the loggers."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give all settings and the version to the loggers; the module logs only its own settings.

        The file is written later, since callbacks and the module may refuse the settings until the
        first step. The folder may hold a run, which then keeps its own configuration and scores.
        """
        if stage == "fit" and trainer.is_global_zero:
            settings = yaml.safe_load(self.parser.dump(self._absolute(), skip_none=False))
            settings["wsseg"] = code_version()
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):  # whose log is beside the file
                    logger.log_hyperparams(settings)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write the file before the first step."""
        if trainer.is_global_zero and not self.already_saved:
            self.save_config(trainer, pl_module, "fit")
        self.already_saved = True

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write all settings of a training."""
        root = Path(trainer.default_root_dir)
        set_aside_scores(root)
        path = root / self.config_filename
        with replacing(path) as part:
            config = self._absolute()
            self.parser.save(config, part, skip_none=False, overwrite=True, multifile=False)
        link_latest(root)

    def _absolute(self) -> Namespace:
        """Return the settings with paths that are right in every folder."""
        config = self.config.clone()
        for name in PATHS:
            if config.get(name):
                config[name] = str(Path(config[name]).absolute())
        return config


def set_aside_scores(root: Path) -> None:
    """Rename the scores in a run's folder, since training changes the weights they belong to."""
    for name in (METRICS_FILE, CASES_FILE):
        path = root / name
        if path.is_file():
            path.replace(path.with_stem(f"former_{path.stem}"))


def run_callbacks(
    root: str, given: Sequence[Callback], *, quiet: bool = False, saving: bool = True
) -> list[Callback]:
    """Return the callbacks to add to a run, without those of a kind that the user has given.

    Args:
        root: The run's folder.
        given: Callbacks of the user.
        quiet: Leave out the progress bar (without a terminal, a line for each epoch).
        saving: Save checkpoints.

    Example:
        >>> [type(one).__name__ for one in run_callbacks("RUN", [OverlayLogger()], quiet=True)]
        ['StepSeeding', 'CaseEvaluation', 'MapAgreement', 'SuspiciousTags', 'ClusterTables',
         'MapHistory', 'ResumeHint', 'ModelCheckpoint']
    """
    added: list[Callback] = []
    if not any(isinstance(callback, ProgressBar) for callback in given) and not quiet:
        added.append(RichProgressBar() if sys.stdout.isatty() else EpochLines())
    scoring = (CaseEvaluation, MapAgreement, SuspiciousTags)
    drawing = (OverlayLogger, ClusterTables, MapHistory)
    for kind in (StepSeeding, *scoring, *drawing, ResumeHint):
        if not any(isinstance(callback, kind) for callback in given):
            added.append(kind())
    last = ModelCheckpoint(
        dirpath=root,
        filename=Path(LAST_CHECKPOINT).stem,
        enable_version_counter=False,
        save_on_train_epoch_end=True,  # by default only after validation, which may be rarer
    )
    if saving and all(callback.state_key != last.state_key for callback in given):
        added.append(last)
    return added
