"""Image-level tags of a case from a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsseg.utils.errors import InputError

SLICE = "slice"


def read_tags(path: Path, case: str, classes: Sequence[str], slices: int) -> dict[int, list[int]]:
    r"""Read which classes each slice shows.

    Args:
        path: Comma-separated table with the column ``slice`` (slice number along the slicing axis
            of the volume in RAS orientation, from 0 at the left, posterior or inferior end) and a
            column of 0 and 1 for each class.
        case: Name of the case, for messages.
        classes: Names of the classes.
        slices: Number of slices of the volume.

    Returns:
        For each slice of the table a multi-hot row.

    Raises:
        InputError: The table cannot be read or is not as described.

    Example:
        >>> table = Path(getfixture("tmp_path")) / "tags.csv"
        >>> _ = table.write_text("slice,tumour,core\n7,1,0\n8,1,1\n")
        >>> read_tags(table, "ann", ["tumour", "core"], slices=155)
        {7: [1, 0], 8: [1, 1]}
    """
    tags: dict[int, list[int]] = {}
    for line, row in enumerate(_rows(path, case, classes), start=2):
        try:
            number = _whole(row[SLICE])
            values = [_whole(row[name]) for name in classes]
        except (TypeError, ValueError):
            number, values = -1, []
        if not 0 <= number < slices or number in tags or set(values) - {0, 1}:
            raise InputError(
                f"{path}: line {line} of the tags of case {case} is not valid "
                f"({', '.join(f'{name} {row[name]!r}' for name in (SLICE, *classes))}); each line "
                f"needs a slice number from 0 to {slices - 1} and 0 or 1 for each class, and no "
                "slice may come twice"
            )
        tags[number] = values
    return tags


def compare_tags(
    path: Path, case: str, table: Mapping[int, list[int]], shown: Sequence[list[int]]
) -> str | None:
    """Compare a table with the mask of the same case.

    Tags may be noisy: that they differ here and there is no reason to refuse them. That they were
    counted from the other end is, for then they teach nonsense without anyone noticing.

    Args:
        path: File of the table, for messages.
        case: Name of the case, for messages.
        table: For each slice of the table a multi-hot row.
        shown: Of every slice of the volume, what its mask shows.

    Returns:
        Where they differ, or None.

    Raises:
        InputError: The table fits at least twice as well from the other end.
    """
    wrong = sorted(number for number, row in table.items() if row != shown[number])
    if not wrong:
        return None
    places = f"in {len(wrong)} of {len(table)} slices, first in slice {wrong[0]}"
    found = f"{path}: tags of case {case} disagree with its mask {places}"
    last = len(shown) - 1
    backwards = sum(row != shown[last - number] for number, row in table.items())
    if 2 * backwards < len(wrong):
        other = f" (or are they of another axis? there are {last + 1} slices along --axis)"
        raise InputError(
            f"{found}; slices are counted from 0 at the left, posterior or inferior end, and these "
            f"look reversed: reverse the slice numbers, or correct the mask"
            f"{'' if len(table) > last else other}"
        )
    return found


def _whole(text: str) -> int:
    """Read a whole number, also as tables of floating-point numbers hold it, such as 1.0."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _rows(path: Path, case: str, classes: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            # Asked for while the file is open: of an empty file the names are read again.
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except UnicodeError:
        raise InputError(
            f"{path}: tags of case {case} are not encoded in UTF-8; save the table as CSV in UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: tags of case {case} cannot be read ({reason}); check the file"
        ) from None
    for name in (SLICE, *classes):
        if name not in columns:
            found = ", ".join(f"`{column}`" for column in columns) or "none"
            apart = "separate columns by commas" if len(columns) == 1 else "add it"
            raise InputError(
                f"{path}: tags of case {case} have no column `{name}` (found: {found}); {apart}"
            )
    return rows
