"""``wsseg fit``, ``validate`` and ``test``: LightningCLI with wsseg's classes and defaults."""

from __future__ import annotations

import shlex
import sys
import warnings
from argparse import ArgumentError
from contextlib import ExitStack
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from jsonargparse import get_loader, set_loader
from lightning_fabric.plugins import CheckpointIO
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.warnings import disable_possible_user_warnings
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn
from pytorch_lightning.utilities.exceptions import SIGTERMException
from yaml import YAMLError

# Imported so that a configuration can name their classes without the module path.
import wsseg.clustering
import wsseg.comparators
import wsseg.models
import wsseg.segmentation  # noqa: F401
from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.checkpoints.checks import check_run, check_scores_folder
from wsseg.checkpoints.loading import find_checkpoint, only_lightning_reads, read_checkpoint
from wsseg.checkpoints.origin import Origin
from wsseg.checkpoints.saving import AtomicCheckpointIO
from wsseg.cli.callbacks import RunConfig, run_callbacks
from wsseg.cli.clustering_options import add_clustering_options, give_to_callback
from wsseg.cli.configurations import configuration_with, configurations
from wsseg.cli.messages import plain_messages, refusal
from wsseg.cli.processes import check_processes
from wsseg.cli.run_folder import (
    NEW_FOLDER,
    check_unused,
    former_folder,
    in_its_folder,
    lock_run,
    new_folder,
    next_commands,
    removed_if_refused,
)
from wsseg.cli.space import check_space_of_run
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation.results import METRICS_FILE
from wsseg.tracking.run_logger import RunLogger
from wsseg.tracking.wandb_run import describe_run, own_variables
from wsseg.utils.documents import check_yaml, read_document
from wsseg.utils.errors import InputError, check_option
from wsseg.utils.files import check_writable
from wsseg.utils.system import computes_bfloat16


def _load_bounded(text: str) -> Any:
    """Read YAML as jsonargparse does, which on its own hangs on aliases of aliases."""
    check_yaml(text)
    return LOAD_YAML(text)


LOAD_YAML = get_loader("yaml")
set_loader("yaml", _load_bounded, exceptions=(YAMLError,))

DEFAULT_MODEL = "wsseg.CamModule"
SCORING = f"--config RUN/config.yaml --ckpt_path RUN/{LAST_CHECKPOINT}"
EXAMPLES = {
    "fit": "--config experiments/quickstart.yaml --data.root STORE",
    "validate": SCORING,
    "test": SCORING,
}
CLASS_HELP = (
    "The options of a class: wsseg {} --model.help CamModule (the default model), "
    "or --trainer.callbacks.help OverlayLogger."
)
HELD_OUT = {"fit": ("val", "test"), "validate": ("val",), "test": ("test",)}  # by command
DEFAULTS: dict[str, Any] = {
    "default_root_dir": NEW_FOLDER,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
}


class WssegCLI(LightningCLI):
    """LightningCLI that keeps all files of a run in its folder, ``trainer.default_root_dir``."""

    def __init__(self, held: ExitStack, **settings: Any) -> None:
        """Run a command.

        Args:
            held: Takes the lock on the run's folder, and is closed when the command has ended.
            **settings: Those of LightningCLI.
        """
        self._held = held
        super().__init__(**settings)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave out ``predict``: ``wsseg predict`` takes raw volumes instead of a store."""
        inherited = LightningCLI.subcommands()
        return {name: inherited[name] for name in EXAMPLES}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--clustering.*``; take the model's modalities and classes from the store."""
        add_clustering_options(parser)
        parser.link_arguments(
            "data", "model.init_args.spec", compute_fn=_spec, apply_on="instantiate"
        )
        parser.link_arguments("trainer.default_root_dir", "trainer.logger.init_args.save_dir")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, and take the checkpoint out of the configuration.

        Lightning would replace the settings by those of the checkpoint; ``check_run`` compares them
        instead. The default model is the first argument, which the user's replaces: from a default
        of the parser, the user's model would inherit values such as ``widths``.
        """
        assert isinstance(args, list)
        self.command = shlex.join(["wsseg", *map(str, args)])
        command, *options = args
        for path in configurations(options):
            if path.is_file():  # else the parser says that it is none
                read_document(path)
        given = [command, f"--model={DEFAULT_MODEL}", *in_its_folder(options)]
        self.config = parser.parse_args(given)
        self.settings = self.config[command]
        if self.settings.trainer.default_root_dir == NEW_FOLDER:
            folder = self._choose_folder()
            self.config = parser.parse_args([*given, f"--trainer.default_root_dir={folder}"])
            self.settings = self.config[command]
        give_to_callback(self.settings, options)
        self.ckpt_path, self.settings.ckpt_path = self.settings.ckpt_path, None
        self.settings.weights_only = True  # whatever a configuration says: no checkpoint runs code
        seed = self.settings.seed_everything
        check_option(seed in range(2**32), "seed_everything", seed, "from 0 to 4294967295")

    def before_instantiate_classes(self) -> None:
        """Check the run's folder, read the checkpoint, and set the variables of wandb.

        Raises:
            InputError: There is no checkpoint to score, the file is not a checkpoint, or the run's
                folder cannot be written to, holds another run, or belongs to scores of other cases.
        """
        root, training = self.settings.trainer.default_root_dir, self.subcommand == "fit"
        if "://" not in str(root):
            check_writable(Path(root))
        self.ckpt_path = find_checkpoint(self.ckpt_path, root, training=training)
        describe_run(root, self.ckpt_path)
        self.checkpoint: dict[str, Any] = {}
        if self.ckpt_path:
            if not only_lightning_reads(self.ckpt_path):
                self.checkpoint = read_checkpoint(Path(self.ckpt_path))
        elif not training:
            raise InputError(
                f"--ckpt_path: is missing; give the checkpoint to score, RUN/{LAST_CHECKPOINT}"
            )
        elif not self.settings.trainer.fast_dev_run:
            check_unused(Path(root))
        if self.subcommand == "test":
            data = self.settings.data
            check_scores_folder(Path(root), str(self.ckpt_path), data.root, data.fold)
        if training and "://" not in str(root) and not self.settings.trainer.fast_dev_run:
            self._held.enter_context(lock_run(Path(root)))

    def instantiate_classes(self) -> None:
        """Make data, model and trainer, and give the trainer the checkpoint.

        Raises:
            InputError: A class refuses its arguments, or the checkpoint does not fit the run.
        """
        try:
            super().instantiate_classes()
        except InputError:
            raise
        except ValueError as error:  # wraps what a class raises about its arguments
            raise InputError(refusal(error)) from error
        self.config_init[self.subcommand].ckpt_path = self.ckpt_path
        if self.checkpoint:
            splits, training = HELD_OUT[str(self.subcommand)], self.subcommand == "fit"
            path, content = str(self.ckpt_path), self.checkpoint
            check_run(path, content, self.model, self.datamodule, splits, training=training)
            self.checkpoint = {}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, with the callbacks and the logger that every run has.

        Raises:
            InputError: Lightning refuses an option, two callbacks have the same state key, or a
                launcher started more or fewer processes.
        """
        config = self.config_init[self.subcommand].trainer
        if not config.barebones:
            kwargs |= self._parts_of_every_run(config)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (RuntimeError, TypeError, ValueError) as error:  # Lightning refuses an option
            if isinstance(error, InputError):
                raise
            raise InputError(f"--trainer: {_line(error)}; see `wsseg fit --help`") from error
        check_processes(trainer.num_devices, trainer.num_nodes)
        if trainer.precision.startswith("bf16") and not computes_bfloat16(
            trainer.strategy.root_device
        ):
            rank_zero_warn(
                "this processor only emulates bfloat16; leave out --trainer.precision "
                f"{trainer.precision}: float32 is about ten times as fast"
            )
        return trainer

    def _parts_of_every_run(self, config: Any) -> dict[str, Any]:
        root = config.default_root_dir
        callbacks, plugins = _as_list(config.callbacks), _as_list(config.plugins)
        quiet = config.enable_progress_bar is False  # None means the default, which is true
        saving = config.enable_checkpointing is not False
        callbacks += run_callbacks(root, callbacks, quiet=quiet, saving=saving)
        callbacks.append(Origin(self.command))
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        if config.logger is False:
            return {"callbacks": callbacks, "plugins": plugins}
        loggers = [] if config.logger in (None, True) else _as_list(config.logger)
        if not any(isinstance(logger, CSVLogger) for logger in loggers):
            version = "" if self.subcommand == "fit" else str(self.subcommand)
            # Keep rows up to the step that the run resumes from; all if only Lightning reads it.
            step = self.checkpoint.get("global_step", sys.maxsize) if self.ckpt_path else 0
            loggers.append(RunLogger(root, version, step))
        if not any(isinstance(callback, LearningRateMonitor) for callback in callbacks):
            callbacks.append(LearningRateMonitor("epoch"))
        return {"callbacks": callbacks, "plugins": plugins, "logger": loggers}

    def _choose_folder(self) -> str:
        """Return the folder of a run for which none was named."""
        trainer, checkpoint = self.settings.trainer, self.settings.ckpt_path
        former = former_folder(checkpoint)
        return former or self._held.enter_context(new_folder(int(trainer.num_nodes)))

    @rank_zero_only
    def before_fit(self) -> None:
        """Check that there is space for all files of the run, and print where they will be."""
        if not self.settings.trainer.fast_dev_run:
            if "://" not in str(self.trainer.default_root_dir):
                check_space_of_run(self.trainer, self.model, self.datamodule)
            print(f"the run is in {self.trainer.default_root_dir}", flush=True)

    def fit(self, **parts: Any) -> None:
        """Train; a training that is refused leaves nothing behind."""
        if self.trainer.is_global_zero:
            self._held.enter_context(removed_if_refused(Path(self.trainer.default_root_dir)))
        self.trainer.fit(**parts)

    @rank_zero_only
    def after_fit(self) -> None:
        """Print where the checkpoints are, also those of the user's callbacks, and what is next."""
        for saver in self.trainer.checkpoint_callbacks:
            if isinstance(saver, ModelCheckpoint) and saver.best_model_path:
                kind = f"best {saver.monitor}" if saver.monitor else "checkpoint"
                print(f"{kind}: {saver.best_model_path}")
        root = Path(self.trainer.default_root_dir)
        if (root / LAST_CHECKPOINT).is_file():
            print(next_commands(root))

    @rank_zero_only
    def after_test(self) -> None:
        """Print where the scores are."""
        path = Path(self.trainer.default_root_dir) / METRICS_FILE
        if path.is_file():
            print(f"scored: {path}")


def run(arguments: list[str], kind: type[WssegCLI] = WssegCLI) -> WssegCLI:
    """Run ``wsseg fit``, ``validate`` or ``test``.

    Args:
        arguments: ``fit``, ``validate`` or ``test`` and its options.
        kind: What runs it.

    Raises:
        InputError: The data or the settings cannot be used.
        KeyboardInterrupt: Ctrl-C or a queue (SIGTERM) has stopped the run.
    """
    command = arguments[0]
    parsers: dict[str, Any] = {"prog": "wsseg", "exit_on_error": False, "allow_abbrev": False}
    for name, options in EXAMPLES.items():
        example = f"For example: wsseg {name} {options}."
        parsers[name] = {"description": f"{example} {CLASS_HELP.format(name)}"}
    try:
        with plain_messages(), own_variables(), ExitStack() as held:
            disable_possible_user_warnings()  # Lightning's hints, such as on the number of workers
            warnings.filterwarnings("default", "`max_epochs` was not set")
            return kind(
                held,
                model_class=LightningModule,
                datamodule_class=MRISliceDataModule,
                save_config_callback=RunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                trainer_defaults=DEFAULTS,
                seed_everything_default=0,
                subclass_mode_model=True,
                auto_configure_optimizers=False,
                parser_kwargs=parsers,
                load_from_checkpoint_support=False,  # hyper-parameters are plain values
                args=arguments,
            )
    except ArgumentError as error:
        reason = refusal(error, command)
        reason += configuration_with(arguments[1:], reason)
        raise InputError(f"{reason}; see `wsseg {command} --help`") from error
    except MisconfigurationException as error:
        raise InputError(f"{_line(error)}; see `wsseg {command} --help`") from error
    except UnpicklingError as error:
        raise InputError(
            "--ckpt_path: holds more than weights and plain values, and is not loaded, since it "
            "could run code; give a file that `wsseg fit` wrote"
        ) from error
    except SystemExit as leaving:
        # Lightning exits after Ctrl-C, and after SIGTERM with status 0, as if training were done.
        # Process 0 reports that the run was stopped. The others must exit as Lightning does: if
        # one seems to have failed, it kills process 0.
        first = getattr(rank_zero_only, "rank", 0) == 0
        stopped = isinstance(leaving.__context__, KeyboardInterrupt)
        if stopped or (first and isinstance(leaving, SIGTERMException)):
            raise KeyboardInterrupt from None
        raise


def _spec(data: MRISliceDataModule) -> dict[str, Any]:
    """Return the model's ``spec``; a function, since `ddp_spawn` cannot pickle a lambda."""
    return data.spec.to_dict()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".;")


def _as_list(value: Any) -> list[Any]:
    given = value if isinstance(value, list | tuple) else [value]
    return [each for each in given if each is not None]
