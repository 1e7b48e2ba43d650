"""Results of all runs: as one CSV file, as one table for a README, and on the terminal."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsseg.benchmark.runs import Run
from wsseg.evaluation.metrics import DISTANCES, METRICS
from wsseg.evaluation.results import read_cases, read_pxap, summarise
from wsseg.utils.errors import InputError
from wsseg.utils.files import write_table, write_text

SUMMARY = ("case_dice", "method_dice", "method_ci95_low", "method_ci95_high")
RUN_AND_CASE = ("method", "seed", "fold", "case", "class")
COLUMNS = (*RUN_AND_CASE, *METRICS, "unit", "drawn", "pxap", "seconds", *SUMMARY)
NARROW = ("method", "Dice [95 % CI]", "HD95", "ASSD", "sens.", "prec.", "s")
"""Headings that fit a terminal of 80 columns."""

HEADINGS = ("method", "Dice [95 % CI]", "HD95", "ASSD", "sensitivity", "precision", "seconds")

INCOMPLETE = "* not all runs are finished: compare with care."


class Result(NamedTuple):
    """One row of ``results.csv``; ``seconds`` are those of the whole run.

    ``drawn`` says whether the case has the class; None where an earlier version scored it.
    ``unit`` is that of HD95 and ASSD, "mm" or "px".
    ``pxap`` is that of the whole run, the same in all its rows; None where it was not measured.
    """

    method: str
    seed: int
    fold: int
    case: str
    class_name: str
    scores: dict[str, float]
    seconds: float
    drawn: bool | None = None
    pxap: float | None = None
    unit: str = "mm"


def collect(runs: Sequence[Run]) -> list[Result]:
    """Read the scores per case of all finished runs."""
    results = []
    for run in runs:
        if run.finished:
            pxap = read_pxap(run.folder)
            results += [
                _result(row, run.method.name, run.seed, run.fold, run.seconds)._replace(
                    pxap=pxap.get(row["class"])
                )
                for row in read_cases(run.folder)
            ]
    return results


def read_csv(path: Path) -> list[Result]:
    """Read what :func:`write_csv` wrote.

    Raises:
        InputError: There is no such file, or it has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                _result(row, row["method"], int(row["seed"]), int(row["fold"]), row["seconds"])
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the results of a benchmark") from None
    except (KeyError, ValueError, TypeError):
        raise InputError(
            f"{path}: is not what a benchmark writes; give the `results.csv` of one"
        ) from None


def write_csv(results: Sequence[Result], path: Path) -> Path:
    """Write every score of every case.

    Each line also says what the table makes of it: the Dice of its case over all seeds, and for its
    method and class the mean of that over cases, with the bootstrap interval.
    """
    dice = {
        key: (each, summarise(list(each.values())))
        for key, each in _over_seeds(results, "dice").items()
    }
    lines = []
    for row in results:
        scores = [f"{row.scores[metric]:.6g}" for metric in METRICS]
        names = (row.method, row.seed, row.fold, row.case, row.class_name)
        cases, method = dice[row.class_name, row.method]
        summary = (cases[row.case], method.mean, *method.ci95)
        drawn = "" if row.drawn is None else int(row.drawn)
        seconds = f"{row.seconds:.1f}"
        pxap = "" if row.pxap is None else f"{row.pxap:.6g}"
        figures = (f"{value:.6g}" for value in summary)
        lines.append((*names, *scores, row.unit, drawn, pxap, seconds, *figures))
    return write_table(path, COLUMNS, lines)


def case_means(results: Sequence[Result], metric: str) -> dict[tuple[str, str], list[float]]:
    """Average a measure of each case over seeds (and over folds that share the case).

    Args:
        results: All rows.
        metric: The measure.

    Returns:
        For each class and method, in order of appearance, one number per case.
    """
    return {key: list(each.values()) for key, each in _over_seeds(results, metric).items()}


def table_rows(results: Sequence[Result], class_name: str) -> list[tuple[str, ...]]:
    """Return the table of one class, as text.

    Args:
        results: All rows.
        class_name: The class.

    Returns:
        One row per method: means over cases, for Dice with the bootstrap interval over cases. If
        some cases lack the class, the mean Dice over those that have it follows. PxAP, where it
        was measured, is the mean over runs. A method that lacks a run is marked, since its means
        are of other cases or seeds.
    """
    names = marked(results)
    drawn = case_means([row for row in results if row.drawn], "dice")
    means = {metric: case_means(results, metric) for metric in METRICS}
    pxap = _pxap(results, class_name)
    rows = []
    for name, method in means["dice"]:
        if name != class_name:
            continue
        dice = summarise(means["dice"][name, method])
        having = drawn.get((name, method))
        others = {m: float(np.mean(means[m][name, method])) for m in METRICS[1:]}
        rows.append(
            (
                names[method],
                f"{dice.mean:.3f} [{dice.ci95[0]:.3f}, {dice.ci95[1]:.3f}]",
                *([f"{np.mean(having):.3f}" if having else "-"] * some_lack(results, name)),
                *(
                    f"{value:.1f}" if m in DISTANCES else f"{value:.3f}"
                    for m, value in others.items()
                ),
                *([f"{pxap[method]:.3f}" if method in pxap else "-"] * bool(pxap)),
                f"{_seconds(results, method):.0f}",
            )
        )
    return rows


def some_lack(results: Sequence[Result], class_name: str) -> bool:
    """Tell whether a class is known to be missing in some cases, so that its table says more."""
    drawn = {row.drawn for row in results if row.class_name == class_name}
    return False in drawn and None not in drawn


def headings(results: Sequence[Result], class_name: str, names: Sequence[str]) -> list[str]:
    """Return the headings that fit the rows of :func:`table_rows`, from ``names``."""
    drawn = ["if drawn"] * some_lack(results, class_name)
    pxap = ["PxAP"] * bool(_pxap(results, class_name))
    return [*names[:2], *drawn, *names[2:-1], *pxap, names[-1]]


def incomplete(results: Sequence[Result]) -> set[str]:
    """Return the methods that lack a run (a seed on a fold) that another method has."""
    runs: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for row in results:
        runs[row.method].add((row.seed, row.fold))
    every = set().union(*runs.values())
    return {method for method, done in runs.items() if done != every}


def marked(results: Sequence[Result]) -> dict[str, str]:
    """Return how tables and figures name each method: with a mark if it is incomplete."""
    partial = incomplete(results)
    methods = dict.fromkeys(row.method for row in results)
    return {method: f"{method} *" if method in partial else method for method in methods}


def class_names(results: Sequence[Result]) -> list[str]:
    """Return the classes in order of appearance."""
    return list(dict.fromkeys(row.class_name for row in results))


def describe(results: Sequence[Result]) -> str:
    """Say what the table is made of, in one line."""
    cases, seeds = ({getattr(row, name) for row in results} for name in ("case", "seed"))
    text = f"{len(cases)} held-out cases, {len(seeds)} seed{'s' if len(seeds) != 1 else ''}"
    note = f" {INCOMPLETE}" if incomplete(results) else ""
    return f"{text}; each case averaged over seeds, interval over cases.{note}"


def write_markdown(results: Sequence[Result], path: Path) -> Path:
    """Write the table of each class in Markdown."""
    lines: list[str] = []
    for name in class_names(results):
        lines += [f"**{name}**: {describe(results)}", ""]
        titles = headings(results, name, HEADINGS)
        lengths = {metric.upper() for metric in DISTANCES}
        titles = [f"{each} {results[0].unit}" if each in lengths else each for each in titles]
        lines += [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
        lines += [*(_line(row) for row in table_rows(results, name)), ""]
    return write_text(path, "\n".join(lines))


def print_table(results: Sequence[Result]) -> None:
    """Print the table of each class on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name in class_names(results):
        console.print(f"[bold]{name}[/]: {describe(results)}", highlight=False)
        caption = f"HD95, ASSD: {results[0].unit}; s: wall seconds, first stage included"
        table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", padding=0)
        for number, heading in enumerate(headings(results, name, NARROW)):
            title = heading.replace("[", r"\[")
            table.add_column(title, justify="right" if number else "left", no_wrap=True)
        for row in table_rows(results, name):
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print(table)


def _result(
    row: Mapping[str, str], method: str, seed: int, fold: int, seconds: float | str
) -> Result:
    return Result(
        method=method,
        seed=seed,
        fold=fold,
        case=row["case"],
        class_name=row["class"],
        scores={metric: float(row[metric]) for metric in METRICS},
        seconds=float(seconds),
        drawn=row["drawn"] == "1" if row.get("drawn") else None,
        pxap=float(row["pxap"]) if row.get("pxap") else None,
        unit=row["unit"],
    )


def _over_seeds(results: Sequence[Result], metric: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return for each class and method the mean of a measure over seeds, by case."""
    cases: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in results:
        cases[row.class_name, row.method][row.case].append(row.scores[metric])
    return {
        key: {case: float(np.mean(values)) for case, values in each.items()}
        for key, each in cases.items()
    }


def _pxap(results: Sequence[Result], class_name: str) -> dict[str, float]:
    """Return the mean PxAP of each method over its runs, where it was measured."""
    runs: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for row in results:
        if row.class_name == class_name and row.pxap is not None:
            runs[row.method][row.seed, row.fold] = row.pxap
    return {method: float(np.mean(list(each.values()))) for method, each in runs.items()}


def _seconds(results: Sequence[Result], method: str) -> float:
    """Return the mean wall seconds of a method's runs."""
    runs = {(row.seed, row.fold): row.seconds for row in results if row.method == method}
    return float(np.mean(list(runs.values())))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
