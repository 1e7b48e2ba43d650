"""``wsseg fit | validate | test``: Lightning's command line with wsseg's classes and defaults."""

from __future__ import annotations

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

# Imported so that a configuration can name their classes without the module path.
import wsseg.clustering
import wsseg.comparators
import wsseg.models
import wsseg.segmentation  # noqa: F401
from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.checkpoints.checks import check_cases, check_data, check_model
from wsseg.checkpoints.loading import find_checkpoint, only_lightning_reads, read_checkpoint
from wsseg.cli.messages import one_line, plain_messages
from wsseg.cli.processes import check_processes
from wsseg.cli.run_folder import (
    RunConfig,
    RunLogger,
    check_scored,
    given_options,
    in_its_folder,
    run_callbacks,
    run_plugins,
)
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.tracking.wandb_run import describe_run, own_variables
from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable
from wsseg.utils.system import computes_bfloat16

DEFAULT_MODEL = "wsseg.models.CamModule"
DEFAULT_ROOT = "runs/latest"
HELD_OUT = {"fit": ("val", "test"), "validate": ("val",), "test": ("test",)}  # by command
COMMANDS = tuple(HELD_OUT)
SCORING = "--config RUN/config.yaml --ckpt_path RUN/last.ckpt"
EXAMPLES = {
    "fit": "--config experiments/quickstart.yaml --data.root STORE",
    "validate": SCORING,
    "test": SCORING,
}
DEFAULTS: dict[str, Any] = {
    "default_root_dir": DEFAULT_ROOT,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
}


class WssegCLI(LightningCLI):
    """LightningCLI in which a run's folder, ``trainer.default_root_dir``, holds all of the run."""

    def __init__(self, *classes: Any, args: list[str], **settings: Any) -> None:
        """Do what arguments say; the others are those of ``LightningCLI``."""
        self._chosen_model = model_class(args)
        super().__init__(*classes, **settings, args=args)  # type: ignore[misc]

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave prediction to ``wsseg predict``, which takes raw volumes."""
        every = LightningCLI.subcommands()
        return {name: every[name] for name in COMMANDS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Make the model follow the data: modalities and classes come from the store."""
        # The class that is chosen, since values of another, such as `widths`, would carry over.
        try:
            parser.set_defaults({"model": {"class_path": self._chosen_model}})
        except (AttributeError, ImportError, ValueError):  # no such class; parsing will report it
            parser.set_defaults({"model": {"class_path": DEFAULT_MODEL}})
        parser.link_arguments(
            "data",
            "model.init_args.spec",
            compute_fn=_spec,
            apply_on="instantiate",
        )
        parser.link_arguments("trainer.default_root_dir", "trainer.logger.init_args.save_dir")

    def before_instantiate_classes(self) -> None:
        """Read the checkpoint; describe the run to wandb unless the user does.

        Raises:
            InputError: There is no checkpoint to score, the file is not one, or the run's folder
                cannot be written to or is for the scores of other cases.
        """
        config = self.config[str(self.subcommand)]
        root, training = config.trainer.default_root_dir, self.subcommand == "fit"
        if "://" not in str(root):
            check_writable(Path(root))
        config.ckpt_path = find_checkpoint(config.ckpt_path, root, training=training)
        self.ckpt_path: str | None = config.ckpt_path
        describe_run(root, self.ckpt_path)
        self.checkpoint: dict[str, Any] = {}
        if self.ckpt_path:
            if not only_lightning_reads(self.ckpt_path):
                self.checkpoint = read_checkpoint(Path(self.ckpt_path))
        elif not training:
            raise InputError("--ckpt_path: is missing; give the checkpoint to score, RUN/last.ckpt")
        elif (Path(root) / LAST_CHECKPOINT).is_file() and not config.trainer.fast_dev_run:
            rank_zero_warn(
                f"{root}: holds a run that will be replaced; to resume it instead, stop now and "
                "add --ckpt_path last"
            )
        if self.subcommand == "test":
            assert self.ckpt_path is not None
            check_scored(Path(root), self.ckpt_path, config.data.root, config.data.fold)

    def instantiate_classes(self) -> None:
        """Make data, model and trainer.

        Raises:
            InputError: A class refuses its arguments, or the checkpoint belongs to others.
        """
        try:
            super().instantiate_classes()
        except InputError:
            raise
        except ValueError as error:  # how a class refuses a value, within the parser's account
            raise InputError(one_line(str(error))) from error
        if self.checkpoint:
            assert self.ckpt_path is not None
            saved = self.checkpoint.get("hyper_parameters", {}).get("spec", {})
            if saved:
                check_data(self.ckpt_path, saved, self.datamodule.spec.to_dict())
            training = self.subcommand == "fit"
            looked_at = HELD_OUT[str(self.subcommand)]
            data = self.datamodule
            check_cases(self.ckpt_path, self.checkpoint, data, looked_at, training=training)
            check_model(self.ckpt_path, self.checkpoint, self.model, training=training)
            self.checkpoint = {}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give the trainer what every run has: checkpoint, scores, pictures, progress, a log."""
        config = self._get(self.config_init, "trainer")
        root = config["default_root_dir"]
        for name in ("callbacks", "plugins"):
            config[name] = _as_list(config[name])
        if config["barebones"]:
            return super().instantiate_trainer(**kwargs)
        quiet = config["enable_progress_bar"] is False
        saving = config["enable_checkpointing"] is not False
        config["callbacks"] += run_callbacks(root, config["callbacks"], quiet=quiet, saving=saving)
        config["plugins"] += run_plugins(config["plugins"])
        if config["logger"] in (None, True):
            version = "" if self.subcommand == "fit" else str(self.subcommand)
            # Rows are kept up to the step that the run resumes from; all if Lightning finds it.
            step = self.checkpoint.get("global_step", sys.maxsize) if self.ckpt_path else 0
            config["logger"] = RunLogger(root, version, step)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except RuntimeError as error:  # two callbacks whose states would be mixed up
            raise InputError(f"--trainer: {one_line(str(error))}") from error
        check_processes(trainer.num_devices, trainer.num_nodes)
        if trainer.precision.startswith("bf16") and not computes_bfloat16(
            trainer.strategy.root_device
        ):
            rank_zero_warn(
                "this processor only emulates bfloat16; leave out --trainer.precision "
                f"{trainer.precision}: float32 is about ten times as fast"
            )
        return trainer

    @rank_zero_only
    def after_fit(self) -> None:
        """Say where the weights are, those that a callback of the user's chose as well."""
        for each in self.trainer.checkpoint_callbacks:
            if isinstance(each, ModelCheckpoint) and each.best_model_path:
                done = f"best {each.monitor}" if each.monitor else "checkpoint"
                print(f"{done}: {self._in_root(each.best_model_path)}")

    @rank_zero_only
    def after_test(self) -> None:
        """Say where the scores are."""
        path = Path(self.trainer.default_root_dir) / "metrics.json"
        if path.is_file():
            print(f"scored: {path}")

    def _run_subcommand(self, subcommand: str) -> None:
        """Do it; if the user or a queue stops it, say how to resume.

        Raises:
            KeyboardInterrupt: One did (a queue sends SIGTERM); Lightning has ended the run and now
                would leave, after SIGTERM as if all had been done.
        """
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as leaving:
            last = Path(self.trainer.default_root_dir) / LAST_CHECKPOINT
            interrupted = leaving.code == 1 and self.trainer.interrupted
            # Other processes end as Lightning has them end: it kills the first if one seems failed.
            stopped = self.trainer.received_sigterm and self.trainer.is_global_zero
            if not (interrupted or stopped):
                raise
            if subcommand == "fit" and last.is_file() and self.trainer.is_global_zero:
                print(f"to resume, add --ckpt_path {last}", file=sys.stderr)
            raise KeyboardInterrupt from None

    def _in_root(self, path: str) -> Path:
        """Name a file as the user names the run's folder."""
        root = Path(self.trainer.default_root_dir)
        inside = Path(path).is_relative_to(root.resolve())
        return root / Path(path).relative_to(root.resolve()) if inside else Path(path)

    def _parse_ckpt_path(self) -> None:
        """Leave the settings as they were asked for; :func:`check_model` compares them."""


def run(arguments: list[str]) -> WssegCLI:
    """Parse the command line and do what it says.

    Args:
        arguments: ``fit``, ``validate`` or ``test`` and its options.

    Raises:
        InputError: The data or the settings cannot be used.
    """
    parsing = {"prog": "wsseg", "exit_on_error": False}
    commands = {
        name: {"exit_on_error": False, "description": f"For example: wsseg {name} {example}"}
        for name, example in EXAMPLES.items()
    }
    try:
        with plain_messages(), own_variables():
            return WssegCLI(
                LightningModule,
                MRISliceDataModule,
                save_config_callback=RunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                trainer_defaults=DEFAULTS,
                seed_everything_default=0,
                subclass_mode_model=True,
                auto_configure_optimizers=False,
                parser_kwargs={**parsing, **commands},
                load_from_checkpoint_support=False,  # hyper-parameters are plain values
                args=in_its_folder(arguments),
            )
    except ArgumentError as error:
        reason = one_line(str(error), arguments[0])
        raise InputError(f"{reason}; see `wsseg {arguments[0]} --help`") from error
    except MisconfigurationException as error:
        raise InputError(" ".join(str(error).split())) from error


def model_class(arguments: Sequence[str]) -> str:
    """Return the class of the model that arguments, or a file of theirs, choose.

    Args:
        arguments: Those of ``wsseg``.
    """
    chosen = DEFAULT_MODEL
    for option, value in given_options(arguments):
        if option == "--config":
            chosen = _class_in(Path(value)) or chosen
        elif option in ("--model", "--model.class_path"):
            chosen = value
    return chosen


def _class_in(path: Path) -> str | None:
    try:
        model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
        name = model if isinstance(model, str) else model["class_path"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        return None  # the parser will say what is wrong
    return str(name)


def _spec(data: MRISliceDataModule) -> dict[str, Any]:
    """Return what the model is told of the data; no lambda, which `ddp_spawn` could not pickle."""
    return data.spec.to_dict()


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
