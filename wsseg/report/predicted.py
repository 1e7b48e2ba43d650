"""The section on predicted images: what ``wsseg predict`` has found where nobody has drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsseg.prediction.findings import Finding, read_findings, say_empty
from wsseg.prediction.output import PICTURES, TABLE
from wsseg.report.pictures import Figure, figure_of_file
from wsseg.utils.errors import InputError

MOST_PICTURES = 4
MOST_FINDINGS = 300  # rows of the table: a set of pictures may have thousands


@dataclass(frozen=True)
class Predicted:
    """The section on predicted images.

    Attributes:
        folder: What `wsseg predict` has written.
        cases: How many cases it holds.
        lines: Which class was not found in which cases.
        figures: Pictures of the cases in which the network is least sure.
        rows: What was found, the least sure first, and last what has no mask.
        left_out: Number of rows that the table leaves out.
    """

    folder: Path
    cases: int
    lines: list[str]
    figures: list[Figure]
    rows: list[Finding]
    left_out: int


def predicted(folder: Path, classes: Sequence[str]) -> Predicted:
    """Read what was predicted, and choose the cases that should be looked at first.

    Args:
        folder: What ``wsseg predict`` has written.
        classes: Those of the run.

    Raises:
        InputError: The folder holds no prediction, or one of other classes.
    """
    where = f"--predictions {folder}"
    if not (folder / TABLE).is_file():
        raise InputError(
            f"{where}: holds no {TABLE}; give the folder that `wsseg predict` wrote to (--output)"
        )
    found = read_findings(folder / TABLE)
    if others := sorted({each.class_name for each in found}.difference(classes)):
        raise InputError(
            f"{where}: holds masks of {', '.join(others)}, which this run did not learn; give "
            "predictions of its checkpoint"
        )
    rows = sorted(found, key=_confidence)
    unsure = list(dict.fromkeys(each.case for each in rows if each.confidence is not None))
    paths = ((case, folder / PICTURES / f"{case}.png") for case in unsure[:MOST_PICTURES])
    return Predicted(
        folder,
        len({each.case for each in found}),
        say_empty(found, classes),
        [figure_of_file(path, case) for case, path in paths if path.is_file()],
        rows[:MOST_FINDINGS],
        max(0, len(rows) - MOST_FINDINGS),
    )


def _confidence(finding: Finding) -> float:
    return 2.0 if finding.confidence is None else finding.confidence
