"""What ``wsseg test`` has found: means with intervals, and the scores of every case."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsseg.evaluation.metrics import METRICS
from wsseg.evaluation.results import CASES_FILE, METRICS_FILE, read_cases

METRIC_NAMES = ("Dice", "HD95", "ASSD", "sensitivity", "precision")


@dataclass(frozen=True)
class CaseScore:
    """The scores of a class in a case.

    Attributes:
        case: Name of the case.
        class_name: The class.
        values: By the names of ``METRICS``.
        drawn: Whether the class is drawn in the case.
    """

    case: str
    class_name: str
    values: dict[str, float]
    drawn: bool

    @property
    def dice(self) -> float:
        """The overlap with the drawn mask."""
        return self.values["dice"]


@dataclass(frozen=True)
class ClassMeans:
    """The means of a class over the cases.

    Attributes:
        name: The class.
        cases: Number of cases.
        cells: Of each metric its mean, and the ends of the 95 % interval of the mean.
        drawn: Number of cases in which the class is drawn.
        drawn_dice: Mean Dice over these; None without any.
    """

    name: str
    cases: int
    cells: list[tuple[float, float, float]]
    drawn: int
    drawn_dice: float | None


@dataclass(frozen=True)
class Scores:
    """Everything that was scored.

    Attributes:
        means: By class.
        cases: By case and class.
    """

    means: list[ClassMeans] = field(default_factory=list)
    cases: list[CaseScore] = field(default_factory=list)


def read_scores(folder: Path) -> Scores | None:
    """Read the scores in the folder of a run.

    Args:
        folder: The folder.

    Returns:
        None if there are none, or if they cannot be read.
    """
    if not ((folder / METRICS_FILE).is_file() and (folder / CASES_FILE).is_file()):
        return None
    try:
        table = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        means = [_means(name, entry) for name, entry in table.items()]
        return Scores(means, [_case(row) for row in read_cases(folder)])
    except (KeyError, TypeError, ValueError, AttributeError, OSError, csv.Error):
        return None


def mean_dice(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Return the Dice of each case, the mean over the classes that are drawn in it.

    Args:
        scores: By case and class.

    Returns:
        The worst case first; without the cases in which nothing is drawn, unless all are such.

    Example:
        >>> rows = [CaseScore("ann", "cyst", {"dice": 0.9}, True)]
        >>> rows += [CaseScore("ben", "cyst", {"dice": 0.4}, True)]
        >>> mean_dice([*rows, CaseScore("eve", "cyst", {"dice": 1.0}, False)])
        {'ben': 0.4, 'ann': 0.9}
    """
    counted = [one for one in scores if one.drawn] or list(scores)
    values: dict[str, list[float]] = {}
    for one in counted:
        values.setdefault(one.case, []).append(one.dice)
    found = {case: sum(each) / len(each) for case, each in values.items()}
    return dict(sorted(found.items(), key=lambda pair: (pair[1], pair[0])))


def _means(name: str, entry: dict[str, Any]) -> ClassMeans:
    cells = []
    for metric in METRICS:
        low, high = entry[metric]["ci95"]
        cells.append((float(entry[metric]["mean"]), float(low), float(high)))
    drawn = entry["drawn"]
    return ClassMeans(name, int(entry["cases"]), cells, int(drawn["cases"]), drawn["dice"])


def _case(row: dict[str, str]) -> CaseScore:
    values = {metric: float(row[metric]) for metric in METRICS}
    return CaseScore(row["case"], row["class"], values, row["drawn"] == "1")
