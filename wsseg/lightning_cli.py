"""``wsseg fit | validate | test``: Lightning's command line with wsseg's classes and defaults."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.utilities import rank_zero_warn

# Imported so that a configuration can name their classes without the module path.
import wsseg.models  # noqa: F401
from wsseg.clustering import ClusteringError
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.errors import InputError
from wsseg.evaluation import CaseEvaluation
from wsseg.seeding import StepSeeding
from wsseg.tracking.overlays import OverlayLogger

DEFAULT_ROOT = "runs/latest"
IGNORED_WARNINGS = (
    ".*does not have many workers.*",  # slices are read faster in the main process
    ".*smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",
    ".*exists and is not empty.*",  # resuming and repeating a run is legitimate
    ".*experiment logs directory.*exists.*",
    ".*infer the `batch_size`.*",
    ".*Lazy modules.*",
    ".*no `val_dataloader`.*",  # a split without validation cases is legitimate
    ".*Using `DistributedSampler` with the dataloaders.*",  # repeated slices are scored once
    ".*recommended to use `self.log..(val|test)/dice.*",  # scores are equal on all ranks
    ".*Total length of `list` across ranks is zero.*",
    ".*LightningCLI's args parameter.*",
)

CHATTER = ("GPU available", "TPU available", "💡 Tip", "Loading `train_dataloader`", "Seed set to")


class RunConfig(SaveConfigCallback):
    """Saves ``config.yaml`` of a training into the run's own folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what the parser understood; testing leaves the file as training wrote it."""
        if stage != "fit":
            return
        path = Path(trainer.default_root_dir) / self.config_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=True)


class WssegCLI(LightningCLI):
    """LightningCLI in which a run's folder, ``trainer.default_root_dir``, holds all of the run."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave prediction to ``wsseg predict``, which takes raw volumes."""
        every = LightningCLI.subcommands()
        return {name: every[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Make the model follow the data: modalities and classes come from the store."""
        parser.set_defaults({"model": {"class_path": "wsseg.models.CamModule"}})
        parser.link_arguments(
            "data",
            "model.init_args.spec",
            compute_fn=lambda data: data.spec.to_dict(),
            apply_on="instantiate",
        )
        parser.link_arguments("trainer.default_root_dir", "trainer.logger.init_args.save_dir")

    def before_instantiate_classes(self) -> None:
        """Keep wandb off the network unless the user asks (WANDB_MODE=online)."""
        os.environ.setdefault("WANDB_MODE", "offline")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give the trainer what every run has: checkpoint, scores, pictures, progress, a log."""
        config = self._get(self.config_init, "trainer")
        root = config["default_root_dir"]
        config["callbacks"] = [*_as_list(config["callbacks"]), *run_callbacks(root)]
        if config["enable_progress_bar"] is not False:
            config["callbacks"].append(RichProgressBar())
        if config["logger"] in (None, True):
            config["logger"] = run_logger(root)
        return super().instantiate_trainer(**kwargs)

    def _parse_ckpt_path(self) -> None:
        """Warn where a checkpoint's hyper-parameters differ from those asked for.

        Lightning would quietly prefer the checkpoint's (PR 21455) or, for the optimiser's state,
        restore them later.
        """
        config = self.config[self.config.subcommand]
        path = config.get("ckpt_path")
        if not path or not Path(path).is_file():
            return
        saved = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        asked = config.model.get("init_args", {})
        for name, value in saved.get("hyper_parameters", {}).items():
            if name in asked and name != "spec" and _plain(asked[name]) != _plain(value):
                rank_zero_warn(
                    f"model.{name} is {asked[name]} here and {value} in {path}; optimiser and "
                    "schedule continue with the checkpoint's"
                )


def run_callbacks(root: str) -> list[Callback]:
    """Return the callbacks that every run has.

    Args:
        root: The run's folder.
    """
    checkpoint = ModelCheckpoint(dirpath=root, filename="last", enable_version_counter=False)
    return [checkpoint, StepSeeding(), CaseEvaluation(), OverlayLogger()]


def run_logger(root: str) -> Logger:
    """Return the logger of runs that name none: ``metrics.csv`` under ``logs``.

    Args:
        root: The run's folder.
    """
    return CSVLogger(root, name="logs", version="")


def run(arguments: list[str]) -> WssegCLI:
    """Parse the command line and do what it says.

    Args:
        arguments: ``fit``, ``validate`` or ``test`` and its options.

    Raises:
        InputError: The data or the settings cannot be used.
    """
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_is_news)
    try:
        return WssegCLI(
            LightningModule,
            MRISliceDataModule,
            save_config_callback=RunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                "default_root_dir": DEFAULT_ROOT,
                "enable_model_summary": False,
                "log_every_n_steps": 10,
                "num_sanity_val_steps": 0,
            },
            seed_everything_default=0,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            parser_kwargs={"prog": "wsseg"},
            load_from_checkpoint_support=False,  # hyper-parameters are plain values
            args=arguments,
        )
    except ClusteringError as error:
        raise InputError(str(error)) from error


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(CHATTER)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
