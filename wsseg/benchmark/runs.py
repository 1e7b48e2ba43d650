"""One run of the grid: train and test in processes of their own, or score a baseline."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from wsseg.benchmark.child_process import refusal, run_command
from wsseg.benchmark.config import BenchmarkConfig, Method
from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.data.store_files import MANIFEST, SPLITS_FILE
from wsseg.evaluation.results import METRICS_FILE
from wsseg.utils.errors import InputError
from wsseg.utils.files import write_text
from wsseg.utils.system import native_precision

RUN_RECORD = "benchmark.json"


@dataclass(frozen=True)
class Run:
    """A method with one seed on one fold.

    Attributes:
        method: The method.
        fold: The fold.
        seed: The seed.
        store: The slice store.
        folder: Where all of it goes.
        first: The run of the method that this one comes after, or None.
    """

    method: Method
    fold: int
    seed: int
    store: Path
    folder: Path
    first: Run | None = None

    @property
    def label(self) -> str:
        """Name of the run for people."""
        return f"{self.method.name}, fold {self.fold}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether its results are there."""
        return (self.folder / METRICS_FILE).is_file()

    @property
    def seconds(self) -> float:
        """Wall seconds of the run and of its first stage, if it has one; NaN if not recorded."""
        own = float(self._record().get("seconds", float("nan")))
        return own if self.first is None else own + self.first.seconds

    @property
    def checkpoint(self) -> Path:
        """Where training leaves the weights."""
        return self.folder / LAST_CHECKPOINT

    def fingerprint(self) -> str:
        """Return a digest of all that the results depend on, so that stale ones are noticed."""
        method = self.method
        parts = [repr((method.overrides, method.baseline, self.fold, self.seed))]
        parts.append(method.config.read_text() if method.config else "")
        parts.append((self.store / MANIFEST).read_text())
        parts.append((self.store / SPLITS_FILE).read_text())
        parts += [self.first.fingerprint()] if self.first else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def check(self) -> None:
        """Refuse results that were made with other settings or data.

        Raises:
            InputError: The folder holds results of other settings or of another store.
        """
        if self.finished and self._record().get("fingerprint", "") != self.fingerprint():
            raise InputError(
                f"{self.folder}: holds results of other settings or data; remove the folder or "
                "name another `output`"
            )

    def check_precision(self) -> None:
        """Refuse results of another numerical precision than this machine would use.

        Raises:
            InputError: They were made in another precision.
        """
        here = native_precision()
        there = self._record().get("precision", here)
        if self.finished and there != here:
            raise InputError(
                f"{self.folder}: was trained in precision {there}, but this machine uses {here}; "
                f"to continue here, add `overrides: [--trainer.precision={there}]` under another "
                "`output`, or continue on the original machine"
            )

    def check_settings(self) -> None:
        """Refuse settings that training would refuse.

        Raises:
            InputError: An option is unknown, or has a value that it cannot have.
        """
        if problem := refusal(self.fit_arguments()):
            raise InputError(f"method `{self.method.name}`: {problem}")

    def execute(self) -> str | None:
        """Train and test, or score a baseline, and keep a record of it.

        A run that comes after another starts from what that one has left.

        Returns:
            None, or the last lines of what went wrong.
        """
        if problem := self._lacks_first():
            return problem
        # Now, since somebody may edit the configuration while the run takes its hours.
        before, record = self._record(), self._basis()
        resumed = self.checkpoint.is_file() and record.items() <= before.items()
        if not resumed:  # else weights of other settings might be scored
            self.checkpoint.unlink(missing_ok=True)
        write_text(self.folder / RUN_RECORD, json.dumps(record))
        spent = float(before.get("seconds", "nan")) if resumed else 0.0
        start = time.monotonic()
        try:
            problem = self._score_baseline() if self.method.baseline else self._train(resumed)
        finally:
            record["seconds"] = spent + time.monotonic() - start
            write_text(self.folder / RUN_RECORD, json.dumps(record) + "\n")
        if problem is None and not self.finished:
            problem = f"it ended without writing {self.folder / METRICS_FILE}"
        return problem

    def _basis(self) -> dict[str, float | str]:
        """Return what must be the same for a stopped training to resume."""
        basis: dict[str, float | str] = {"fingerprint": self.fingerprint()}
        if not self.method.baseline:
            basis["precision"] = native_precision()
        if self.first is not None:
            with self.first.checkpoint.open("rb") as file:
                basis["first"] = hashlib.file_digest(file, "sha256").hexdigest()
        return basis

    def _lacks_first(self) -> str | None:
        """Return why there is no first stage to start from, if one is needed."""
        if self.first is None or (self.first.finished and self.first.checkpoint.is_file()):
            return None
        where, label = self.first.checkpoint, self.first.label
        if not self.first.finished:
            return f"{where}: cannot be used, since {label} did not finish"
        return f"{where}: does not exist; remove {self.first.folder} to train {label} again"

    def _train(self, resumed: bool) -> str | None:
        going_on = [f"--ckpt_path={self.checkpoint}"] if resumed else []
        fit = [*self.fit_arguments(), *going_on]
        return run_command(fit) or run_command(self.test_arguments())

    def fit_arguments(self) -> list[str]:
        """Return the arguments of ``wsseg`` that train; overrides win."""
        return [
            "fit",
            f"--config={self.method.config}",
            f"--data.root={self.store}",
            f"--data.fold={self.fold}",
            f"--seed_everything={self.seed}",
            f"--trainer.default_root_dir={self.folder}",
            f"--trainer.precision={native_precision()}",
            "--trainer.devices=1",  # all GPUs by default: a batch of each, so fewer steps
            *([f"--model.targets.checkpoint={self.first.checkpoint}"] if self.first else []),
            *self.method.overrides,
        ]

    def test_arguments(self) -> list[str]:
        """Return the arguments of ``wsseg`` that test."""
        return ["test", f"--config={self.folder / 'config.yaml'}", f"--ckpt_path={self.checkpoint}"]

    def _score_baseline(self) -> str | None:
        from wsseg.evaluation.baselines import run_baseline

        assert self.method.baseline is not None
        try:
            run_baseline(self.method.baseline, self.store, self.fold, self.seed, self.folder)
        except ValueError as error:  # what the input, or too few pixels, may bring about
            return str(error)
        return None

    def _record(self) -> dict[str, float | str]:
        path = self.folder / RUN_RECORD
        record: dict[str, float | str] = json.loads(path.read_text()) if path.is_file() else {}
        return record


def plan(config: BenchmarkConfig) -> list[Run]:
    """List the runs: fold by fold and seed by seed, so that methods can be compared early."""
    runs: dict[tuple[str, int, int], Run] = {}
    for seed in config.seeds:
        for fold in config.folds:
            for method in config.methods:
                folder = config.output / method.name / f"fold{fold}-seed{seed}"
                first = runs[method.after, fold, seed] if method.after else None
                run = Run(method, fold, seed, config.store, folder, first)
                runs[method.name, fold, seed] = run
    return list(runs.values())
