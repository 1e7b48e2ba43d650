"""``wsseg benchmark``: makes the data, runs the grid, writes tables and pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from wsseg.utils.errors import InputError, attempt, results
from wsseg.utils.files import lock

PATIENCE = 5.0  # seconds between looks at runs that another benchmark does; they take minutes


def benchmark(experiment: Path, *, report_only: bool = False) -> Path:
    """Compare methods over seeds and folds.

    Held-out cases need masks: methods are compared by scores. Runs that are finished are kept, so
    an interrupted benchmark resumes where it stopped. A run that fails is reported and the others
    continue. The same benchmark may be started several times, say once for every GPU: each takes
    runs that no other is at.

    Args:
        experiment: YAML file with `store`, `output`, `methods`, `seeds`, `folds`, `overrides` for
            all methods and, to make the data first, `phantom` and `prepare`. Its paths are relative
            to the current folder.
        report_only: Write tables and pictures of the runs that are finished, and run nothing.

    Returns:
        The output folder, with `results.csv`, `table.md`, `dice.png`, `overview.png` and a folder
        per run.

    Raises:
        InputError: The file, the store or the settings of a method cannot be used, a finished run
            was made with other settings, or there is none to report.
        SystemExit: A run failed (status 1).
    """
    from wsseg.benchmark.config import load_config
    from wsseg.benchmark.runs import plan

    settings = load_config(Path(experiment))
    if not report_only:
        if settings.phantom or settings.prepare:
            with lock(settings.store):
                make_data(settings.phantom, settings.prepare, settings.store)
        check_store(settings.store, settings.folds, settings.prepare or {})
    runs = plan(settings)
    for run in runs:
        run.check()
        if not report_only:
            run.check_precision()
    if not report_only:
        _check_settings(runs)
    failures = {} if report_only else _execute(runs)
    done = [run for run in runs if run.finished]
    if report_only and not done:
        raise InputError(f"{settings.output}: holds no finished run; leave out --report_only")
    if done:
        with lock(settings.output):
            _report(done, settings.output)
    if failures:
        _console().print(f"\n{len(failures)} of {len(runs)} runs failed:", style="bold red")
        for label, problem in failures.items():
            print(f"{label}:\n{problem}\n")  # plainly: rich would break paths in two
        raise SystemExit(1)
    return settings.output


def make_data(
    phantom: dict[str, Any] | None, preparation: dict[str, Any] | None, store: Path
) -> None:
    """Make the phantom and the store if they do not exist yet.

    Args:
        phantom: Arguments of ``write_phantom``.
        preparation: Arguments of ``prepare``.
        store: Where the store should be in the end.

    Raises:
        InputError: An argument is unknown, or the phantom that is there was made with others.
    """
    from wsseg.data.store_files import MANIFEST, SPLITS_FILE

    complete = all((store / name).is_file() for name in (MANIFEST, SPLITS_FILE))
    # A phantom that is not needed any more may have been removed.
    if phantom is not None and (Path(phantom["out"]).exists() or not complete):
        from wsseg.phantom import write_phantom

        with lock(Path(phantom["out"])):  # several benchmarks may share one
            _call("phantom", write_phantom, phantom, ("out",))
    if not complete and preparation is not None:
        from wsseg.data.preparation import prepare

        _call("prepare", prepare, preparation, ("source", "out"))


def check_store(store: Path, folds: Sequence[int], preparation: dict[str, Any]) -> None:
    """Refuse, before the first run, a store that lacks folds or masks, or has other options.

    Args:
        store: The slice store.
        folds: Folds that it must have.
        preparation: Arguments of ``prepare``; none if the store may be any. Only the options are
            compared: the source may be gone, or take long to read.

    Raises:
        InputError: The store is absent or damaged, lacks a fold, has no mask to score one with, or
            was prepared in another way.
    """
    from inspect import signature

    from wsseg.data.masked import cases_with_masks
    from wsseg.data.preparation import prepare
    from wsseg.data.store import SliceStore

    found = SliceStore(store)
    for fold in folds:
        cases_with_masks(found, found.split(fold)["test"], fold)
    if not preparation:
        return
    made = found.options
    for name, parameter in signature(prepare).parameters.items():
        wanted = preparation.get(name, parameter.default)
        if name in made and _differs(made[name], wanted):
            raise InputError(
                f"{store}: was prepared with {name} {made[name]}, but `prepare` says {wanted}; "
                "remove the store or name another one"
            )


def _differs(made: Any, wanted: Any) -> bool:
    """Tell whether option values differ; the order of classes, that of the channels, counts."""
    return bool(made != wanted) or (isinstance(wanted, dict) and list(made) != list(wanted))


def _call(block: str, function: Any, arguments: dict[str, Any], paths: Sequence[str]) -> None:
    import inspect

    known = inspect.signature(function).parameters
    if unknown := [name for name in arguments if name not in known]:
        raise InputError(f"{block}: unknown option {unknown[0]!r}; known are {', '.join(known)}")
    function(**{k: Path(v) if k in paths else v for k, v in arguments.items()})


def _check_settings(runs: Sequence[Any]) -> None:
    """Check the settings of all methods before the first one is trained, which takes hours."""
    left = {run.method: run for run in runs if run.method.config and not run.finished}
    if not left:
        return
    status = _console().status(f"Checking the settings of {len(left)} methods")
    with status, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results(pool.map(lambda run: attempt(run.check_settings), left.values()))


def _execute(runs: Sequence[Any]) -> dict[str, str]:
    """Execute the runs that are not finished; return the last lines of those that failed."""
    failures: dict[str, str] = {}
    waiting = {
        run: f"run {number} of {len(runs)}: {run.label}" for number, run in enumerate(runs, 1)
    }
    taken: list[Any] = []
    while waiting:
        before, taken = len(taken), []
        for run, title in waiting.items():
            with lock(run.folder, wait=False) as ours:
                if not ours or run.first in taken:
                    taken.append(run)
                    continue
                _console().rule(title, align="left")
                if run.finished:
                    _console().print("already finished, kept", style="dim")
                elif problem := run.execute():
                    failures[run.label] = problem
                    _console().print("failed; continuing with the others", style="bold red")
        if taken and len(taken) != before:
            waits = f"{len(taken)} runs are being done by another benchmark; waiting"
            _console().print(waits, style="dim")
        if len(taken) == len(waiting):
            time.sleep(PATIENCE)
        waiting = {run: waiting[run] for run in taken}
    return failures


def _report(done: Sequence[Any], output: Path) -> None:
    from wsseg.benchmark import figure, overview, table

    scores = table.collect(done)
    files = {
        "every score": table.write_csv(scores, output / "results.csv"),
        "table": table.write_markdown(scores, output / "table.md"),
        "figure": figure.draw_dice(scores, output / "dice.png"),
    }
    print()
    table.print_table(scores)
    if picture := overview.draw_overview(done, output / "overview.png"):
        files["contact sheet"] = picture
    for name, path in files.items():
        print(f"{name + ':':<15}{path}")
    trained = [run for run in done if run.checkpoint.is_file()]
    if trained:
        # A second stage is what ships; what stands below it is often the upper bound.
        last = next((run for run in reversed(trained) if run.first), trained[-1])
        print(f"{'runs:':<15}{output}/<method>/fold<F>-seed<S>")
        print("\nNext, masks for volumes of your own (any supported layout, no preparation):")
        print(f"  wsseg predict --ckpt_path {last.checkpoint} --input CASE_OR_FOLDER --output DIR")


def _console() -> Any:
    from rich.console import Console

    return Console()
