"""What was found in each case: the rows of ``cases.csv``, and what is said of them at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.planes import box_of
from wsseg.data.readers import Header
from wsseg.utils.errors import InputError
from wsseg.utils.files import write_table

MOST_NAMES = 10  # cases that a line names
NOTHING_FOUND = "nothing found"


class Finding(NamedTuple):
    """What was found of a class in a case; a row of the table.

    Attributes:
        case: Id of the case.
        class_name: Name of the class.
        label: Its number in the mask.
        size: Area or volume, in ``unit``. What lies in another class that contains it counts for
            both.
        unit: "px" or "mm2" of a single plane, "voxels" or "ml" of several.
        components: How many separate parts there are; what touches at a corner belongs together.
        confidence: See :func:`~wsseg.prediction.confidence.confidence_of`; None without a mask.
        note: What the user should know: that nothing was found, or that the case does not look
            like those of training.
    """

    case: str
    class_name: str
    label: int
    size: float
    unit: str
    components: int
    confidence: float | None
    note: str = ""


COLUMNS = ["class" if name == "class_name" else name for name in Finding._fields]


def unit_of(source: Header) -> tuple[str, float]:
    """Return the unit in which sizes are given, and the size of a voxel in it.

    Args:
        source: Where the voxels lie.

    Example:
        >>> unit_of(Header((240, 240, 155), np.diag([1, 1, 2, 1])))
        ('ml', 0.002)
    """
    if source.grid is not None:
        return "px", float(source.grid.cell**2)
    if source.unit == "px":
        return ("px" if 1 in source.shape else "voxels"), 1.0
    volume = abs(float(np.linalg.det(source.affine[:3, :3])))
    if 1 in source.shape:
        return "mm2", volume / float(np.linalg.norm(source.affine[:3, source.shape.index(1)]))
    return "ml", volume / 1000.0


def count_components(mask: NDArray[np.bool_]) -> int:
    """Count the separate parts of a mask.

    Args:
        mask: [X, Y, Z]. What touches at a corner belongs together.

    Example:
        >>> count_components(np.array([[[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]]], bool))
        2
    """
    from scipy import ndimage

    if not mask.any():
        return 0
    return int(ndimage.label(mask[box_of(mask)], structure=np.ones((3, 3, 3)))[1])


def describe(finding: Finding) -> str:
    """Return what the legend of a picture says.

    Example:
        >>> describe(Finding("ann", "cyst", 3, 2650, "px", 1, 0.9))
        '3 cyst: 2,650 px'
    """
    size = f"{finding.size:,.0f}" if finding.unit in ("px", "voxels") else f"{finding.size:,.1f}"
    unit = finding.unit.replace("mm2", "mm²")
    return f"{finding.label} {finding.class_name}: {size} {unit}"


def write_findings(findings: Iterable[Finding], path: Path) -> Path:
    """Write the table, with a row for each case and class.

    Args:
        findings: The rows.
        path: File to write.
    """
    rows = []
    for each in findings:
        confidence = "" if each.confidence is None else f"{each.confidence:.3f}"
        shown = {"size": f"{round(each.size, 4):.15g}", "confidence": confidence}
        rows.append((each._asdict() | shown).values())
    return write_table(path, COLUMNS, rows)


def read_findings(path: Path) -> list[Finding]:
    """Read the table that :func:`write_findings` has written.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be read, or is another table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_finding(row) for row in csv.DictReader(file)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: is no table that `wsseg predict` has written ({error!r}); predict again"
        ) from None


def _finding(row: Mapping[str, str]) -> Finding:
    case, name, label, size, unit, components, confidence, note = (row[one] for one in COLUMNS)
    sure = float(confidence) if confidence else None
    return Finding(case, name, int(label), float(size), unit, int(components), sure, note)


def say_empty(findings: Sequence[Finding], classes: Sequence[str]) -> list[str]:
    """Say of each class in which cases nothing was found.

    Args:
        findings: Of all cases.
        classes: Names of the classes.

    Returns:
        A line for each class that some case lacks.

    Example:
        >>> found = Finding("ann", "cyst", 3, 0, "px", 0, None)
        >>> say_empty([found, found._replace(case="ben", size=9)], ["cyst"])
        ['1 of 2 cases has no cyst: ann']
    """
    lines = []
    for name in classes:
        cases = [each for each in findings if each.class_name == name]
        without = [each.case for each in cases if not each.size]
        if without:
            more = len(without) - MOST_NAMES
            named = ", ".join(without[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
            verb = "has" if len(without) == 1 else "have"
            lines.append(f"{len(without)} of {len(cases)} cases {verb} no {name}: {named}")
    return lines
