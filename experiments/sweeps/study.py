"""A study with Optuna that needs no network: ``python experiments/sweeps/study.py STORE OUT``.

Each trial is a training of its own, in a process and a folder of its own. One that fails or is
killed is recorded, and the study goes on. A study that was stopped goes on with the same command,
and several may work on one folder at the same time. Trials are judged by ``val/agreement``, and at
the end by how well they agree with the mean of the other good ones. Neither needs a mask.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from wsseg.benchmark.child_process import refusal
from wsseg.data.store import SliceStore
from wsseg.evaluation.agreement import AGREEMENT
from wsseg.evaluation.consensus import FEWEST_RUNS, consensus, validation_probabilities
from wsseg.utils.errors import InputError
from wsseg.utils.files import lock
from wsseg.utils.system import end_with_parent

SWEEP = Path(__file__).with_name("sweep.yaml")
CONFIG = Path(__file__).parents[1] / "quickstart.yaml"
DONE = (TrialState.COMPLETE, TrialState.FAIL)


class TrialError(RuntimeError):
    """A training of the study did not end well."""


def main(arguments: Sequence[str] | None = None) -> optuna.Study:
    """Run trials until as many as wanted have ended, and print the best.

    Args:
        arguments: Those of the command line.
    """
    given, options = _parser().parse_known_args(arguments)
    if not SliceStore(given.store).split(given.fold)["val"]:
        raise InputError(
            f"{given.store}: fold {given.fold} has no validation cases, by which trials are judged;"
            " prepare the store with a larger --val_fraction"
        )
    if SliceStore(given.store).spec.of_pictures:
        raise InputError(
            f"{given.store}: holds pictures, for which there is no val/agreement, by which trials "
            "are judged; compare runs on pictures by `wsseg test`, with masks"
        )
    space = yaml.safe_load(given.sweep.read_text(encoding="utf-8"))["parameters"]
    named = {option.removeprefix("--").partition("=")[0] for option in options}
    if both := sorted(named & space.keys()):
        raise InputError(
            f"--{both[0]}: is varied by {given.sweep}, so it cannot be given; leave it out, or "
            "give another --sweep"
        )
    common = [f"--config={given.config}", f"--data.root={given.store}", f"--data.fold={given.fold}"]
    if problem := refusal(["fit", *common, *options]):
        raise InputError(problem)
    given.out.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(given.out / "study.journal")))
    sampler = optuna.samplers.TPESampler(seed=given.seed)
    study = optuna.create_study(
        storage=storage,
        sampler=sampler,
        study_name="wsseg",
        direction="maximize",
        load_if_exists=True,
    )
    _resume_stopped(study, given.out)
    while len(study.get_trials(deepcopy=False, states=DONE)) < given.trials:
        study.optimize(
            lambda trial: _train(trial, space, given.out, [*common, *options]),
            n_trials=1,
            catch=(TrialError, OSError),
        )
    _report(study, given.out)
    return study


def suggest(trial: Trial, space: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Let a trial choose a value for each parameter of a sweep of wandb.

    Args:
        trial: The trial.
        space: ``parameters`` of the sweep: with ``value``, ``values``, or ``min`` and ``max``.

    Returns:
        Option of ``wsseg fit`` to value.
    """
    chosen: dict[str, Any] = {}
    for name, entry in space.items():
        if "value" in entry:
            chosen[name] = entry["value"]
        elif "values" in entry:
            chosen[name] = trial.suggest_categorical(name, entry["values"])
        else:
            log = "log" in entry.get("distribution", "")
            whole = isinstance(entry["min"], int) and isinstance(entry["max"], int)
            draw = trial.suggest_int if whole else trial.suggest_float
            chosen[name] = draw(name, entry["min"], entry["max"], log=log)
    return chosen


def last_value(run: Path, name: str = AGREEMENT) -> float:
    """Return the last value of a metric that a run has logged.

    Args:
        run: The run's folder.
        name: The metric.

    Raises:
        TrialError: It was never logged.
    """
    path = run / "logs" / "metrics.csv"
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            values = [row[name] for row in csv.DictReader(file) if row.get(name)]
        if values:
            return float(values[-1])
    raise TrialError(f"{run}: has not logged {name}")


def _train(trial: Trial, space: dict[str, Any], out: Path, options: Sequence[str]) -> float:
    chosen = suggest(trial, space)
    run = out / f"trial-{trial.user_attrs.get('of', trial.number):03d}"
    trial.set_user_attr("run", str(run))
    command = [sys.executable, "-m", "wsseg", "fit", *options]
    command += [f"--{name}={value}" for name, value in chosen.items()]
    command += [f"--trainer.default_root_dir={run}"]
    if (run / "last.ckpt").is_file():  # of a study that was stopped
        command += ["--ckpt_path=last"]
    with _marked(run):
        (run.with_suffix(".sh")).write_text(f"{shlex.join(command)}\n", encoding="utf-8")
        with run.with_suffix(".log").open("a", encoding="utf-8") as log:
            status = subprocess.run(
                command,
                stdout=log,
                stderr=log,
                check=False,
                preexec_fn=partial(end_with_parent, os.getpid()),  # else it would train on unseen
            ).returncode
    if status:
        trial.set_user_attr("status", status)
        raise TrialError(f"`wsseg fit` ended with status {status}; see {run.with_suffix('.log')}")
    return last_value(run)


@contextmanager
def _marked(run: Path) -> Iterator[None]:
    """Hold a lock while a trial runs, by which others know that its study still lives."""
    with lock(run.with_suffix(".trial")):
        yield


def _resume_stopped(study: optuna.Study, out: Path) -> None:
    """Begin again the trials whose study was killed; they resume from their last checkpoint."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number = trial.user_attrs.get("of", trial.number)
        with lock(out / f"trial-{number:03d}.trial", wait=False) as ours:
            if ours:
                study.enqueue_trial(trial.params, user_attrs={"of": number})
                study.tell(trial.number, state=TrialState.PRUNED)


def _report(study: optuna.Study, out: Path) -> None:
    trials = study.get_trials(deepcopy=False, states=DONE)
    good = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    runs = [validation_probabilities(Path(trial.user_attrs["run"])) for trial in good]
    scores = consensus(runs, [float(trial.value or 0) for trial in good])
    table = study.trials_dataframe()
    numbers = [trial.number for trial in good]
    table["consensus"] = table["number"].map(dict(zip(numbers, scores, strict=True)))
    table.to_csv(out / "trials.csv", index=False)
    print(f"{len(trials)} trials, of which {len(trials) - len(good)} failed: {out / 'trials.csv'}")
    if good:
        enough = (len(good) + 1) // 2 >= FEWEST_RUNS  # good ones, to be compared with each other
        order = [
            (score if enough else 0, trial.value or 0)
            for score, trial in zip(scores, good, strict=True)
        ]
        best = max(range(len(good)), key=order.__getitem__)
        print(_described(good[best], scores[best]))


def _described(trial: FrozenTrial, score: float) -> str:
    options = " ".join(f"--{name}={value}" for name, value in trial.params.items())
    numbers = f"consensus {score:.3f}, {AGREEMENT} {trial.value:.3f}"
    return f"best run, {numbers}: {trial.user_attrs['run']} ({options})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Other options are given to each `wsseg fit`, such as --trainer.precision.",
        allow_abbrev=False,
    )
    parser.add_argument("store", type=Path, help="prepared store, with validation cases")
    parser.add_argument(
        "out", type=Path, help="folder of the study; one that exists is gone on with"
    )
    parser.add_argument("--trials", type=int, default=8, help="how many shall have ended")
    parser.add_argument("--config", type=Path, default=CONFIG, help="what each trial starts from")
    parser.add_argument("--sweep", type=Path, default=SWEEP, help="what is varied")
    parser.add_argument("--fold", type=int, default=0, help="fold of the store")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of trials")
    return parser


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
