"""The two files that a test leaves in its run folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsseg.evaluation.case_metric import CaseRow
from wsseg.evaluation.metrics import METRICS
from wsseg.utils.files import write_text

METRICS_FILE = "metrics.json"
CASES_FILE = "per_case.csv"


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


def summary_table(rows: Sequence[CaseRow]) -> dict[str, dict[str, Any]]:
    """Summarise the scores of each class over its cases.

    Args:
        rows: Scores per case and class.

    Returns:
        ``{class: {metric: {"mean", "median", "ci95"}, "cases": n}}``.
    """
    table: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row.class_name for row in rows):
        scores = [row.scores for row in rows if row.class_name == name]
        table[name] = {
            metric: summarise([getattr(each, metric) for each in scores])._asdict()
            for metric in METRICS
        }
        table[name]["cases"] = len(scores)
    return table


def write_results(rows: Sequence[CaseRow], folder: Path) -> Path:
    """Write ``per_case.csv`` and ``metrics.json``, the latter last: it says that all is there.

    Args:
        rows: Scores per case and class.
        folder: The run folder.

    Returns:
        The path of ``metrics.json``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "class", *METRICS))
    for row in rows:
        writer.writerow((row.case, row.class_name, *(f"{value:.6g}" for value in row.scores)))
    write_text(folder / CASES_FILE, text.getvalue())
    return write_text(folder / METRICS_FILE, json.dumps(summary_table(rows), indent=2) + "\n")


def read_cases(folder: Path) -> list[dict[str, str]]:
    """Read the ``per_case.csv`` of a run folder, one dictionary per row."""
    with (folder / CASES_FILE).open(newline="") as file:
        return list(csv.DictReader(file))
