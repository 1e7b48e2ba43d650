"""The two files that a test leaves in its run folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsseg.evaluation.case_metric import CaseRow
from wsseg.evaluation.metrics import METRICS
from wsseg.utils.errors import InputError
from wsseg.utils.files import write_table, write_text

METRICS_FILE = "metrics.json"
CASES_FILE = "per_case.csv"
CASES_HEADER = ("case", "class", *METRICS, "unit", "drawn", "confidence")


class Summary(NamedTuple):
    """Mean and median over cases, with the 95 % interval of the mean."""

    mean: float
    median: float
    ci95: tuple[float, float]


def summarise(values: Sequence[float], seed: int = 0, draws: int = 2000) -> Summary:
    """Summarise a measure over cases.

    Args:
        values: One number per case.
        seed: Of the bootstrap; the same values and seed always give the same interval.
        draws: Samples of the bootstrap. Another seed then moves the ends of an interval by some
            2 % of its length (reckoned, not measured).

    Returns:
        Mean, median, and the 2.5th and 97.5th percentile of the means of samples of the cases,
        drawn with replacement. With very few cases such an interval is too narrow.

    Raises:
        ValueError: There is no case.

    Example:
        >>> summarise([0.25, 0.5, 0.75])
        Summary(mean=0.5, median=0.5, ci95=(0.25, 0.75))
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        raise ValueError("summarise: there is no case")
    # As scipy.stats.bootstrap(method="percentile") does, to the bit, but that refuses a single case
    # and takes a second to import.
    rows = np.random.default_rng(seed).integers(len(data), size=(draws, len(data)))
    low, high = np.percentile(data[rows].mean(axis=1), (2.5, 97.5))
    return Summary(float(data.mean()), float(np.median(data)), (float(low), float(high)))


def summary_table(
    rows: Sequence[CaseRow], pxap: Sequence[float | None] | None = None
) -> dict[str, dict[str, Any]]:
    """Summarise the scores of each class over its cases.

    Args:
        rows: Scores per case and class.
        pxap: Pixel-wise average precision of each class, in the order of the rows; it is of all
            cases together. None where it was not measured.

    Returns:
        ``{class: {metric: {"mean", "median", "ci95"}, "cases": n, "drawn": {"cases", "dice"},
        "not_drawn": {"cases", "nothing_predicted"}}}``. ``drawn`` has the mean Dice over the cases
        in which the class is drawn, ``not_drawn`` the share of the others in which nothing was
        predicted; either is None where there is no such case. ``pxap`` is there if it is given.
    """
    table: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(dict.fromkeys(row.class_name for row in rows)):
        here = [row for row in rows if row.class_name == name]
        scores = [row.scores for row in here]
        others = [not row.predicted for row in here if not row.drawn]
        table[name] = {
            metric: summarise([getattr(each, metric) for each in scores])._asdict()
            for metric in METRICS
        }
        table[name]["cases"] = len(scores)
        drawn = {"cases": len(scores) - len(others), "dice": drawn_dice(rows, name)}
        share = float(np.mean(others)) if others else None
        table[name]["drawn"] = drawn
        table[name]["not_drawn"] = {"cases": len(others), "nothing_predicted": share}
        if pxap is not None:
            table[name]["pxap"] = pxap[number]
    return table


def drawn_dice(rows: Sequence[CaseRow], class_name: str) -> float | None:
    """Return the mean Dice over the cases in which a class is drawn; None if it is in no case.

    Where many cases lack a class, the mean over all cases says little: a model that never predicts
    the class has a Dice of 1 in all of them.

    Example:
        >>> from wsseg.evaluation.metrics import Scores
        >>> missed, right = Scores(0, 9, 9, 0, 0), Scores(1, 0, 0, 1, 1)
        >>> rows = [CaseRow("ann", "cyst", missed, True, False)]
        >>> rows += [CaseRow("bob", "cyst", right, False, False)]
        >>> drawn_dice(rows, "cyst")
        0.0
    """
    values = [row.scores.dice for row in rows if row.class_name == class_name and row.drawn]
    return float(np.mean(values)) if values else None


def never_predicted(rows: Sequence[CaseRow]) -> list[str]:
    """Return one sentence for each class that was predicted in none of the cases that have it.

    Args:
        rows: Scores per case and class.
    """
    sentences = []
    for name, table in summary_table(rows).items():
        having = [row for row in rows if row.class_name == name and row.drawn]
        if not having or any(row.predicted for row in having):
            continue
        count = len(having)
        where = (
            f"any of the {count} cases that have it" if count > 1 else "the one case that has it"
        )
        text = f"`{name}`: nothing was predicted in {where}"
        if table["not_drawn"]["nothing_predicted"]:
            mean = table["dice"]["mean"]
            text += f"; a mean Dice of {mean:.2f} comes only from the cases without it"
        sentences.append(text)
    return sentences


def write_results(
    rows: Sequence[CaseRow], folder: Path, unit: str, pxap: Sequence[float | None] | None = None
) -> Path:
    """Write ``per_case.csv`` and ``metrics.json``, the latter last: it says that all is there.

    Args:
        rows: Scores per case and class.
        folder: The run folder.
        unit: Of distances, "mm" or "px"; ``per_case.csv`` says it in a column.
        pxap: See :func:`summary_table`.

    Returns:
        The path of ``metrics.json``.
    """
    lines = []
    for row in rows:
        scores = (f"{value:.6g}" for value in row.scores)
        sure = "" if row.confidence is None else f"{row.confidence:.3f}"
        lines.append((row.case, row.class_name, *scores, unit, int(row.drawn), sure))
    write_table(folder / CASES_FILE, CASES_HEADER, lines)
    return write_text(folder / METRICS_FILE, json.dumps(summary_table(rows, pxap), indent=2) + "\n")


def read_pxap(folder: Path) -> dict[str, float]:
    """Read PxAP of each class from the ``metrics.json`` of a run folder, where it was measured."""
    table = json.loads((folder / METRICS_FILE).read_text())
    known = {name: each.get("pxap") for name, each in table.items()}
    return {name: value for name, value in known.items() if value is not None}


def read_cases(folder: Path) -> list[dict[str, str]]:
    """Read the ``per_case.csv`` of a run folder, one dictionary per row.

    Raises:
        InputError: An earlier version of wsseg wrote it, with other columns.
    """
    with (folder / CASES_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    if any(row.keys() != {*CASES_HEADER} for row in rows):
        raise InputError(
            f"{folder / CASES_FILE}: was written by an earlier version of wsseg; run `wsseg test` "
            "again"
        )
    return rows
