"""Image-level tags of a case from a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from wsseg.errors import InputError

SLICE = "slice"


def read_tags(path: Path, case: str, classes: Sequence[str], slices: int) -> dict[int, list[int]]:
    """Read which classes each slice shows.

    Args:
        path: Comma-separated table with the column ``slice`` (slice number along the slicing axis
            of the volume in RAS orientation, from 0) and a column of 0 and 1 for each class.
        case: Name of the case, for messages.
        classes: Names of the classes.
        slices: Number of slices of the volume.

    Returns:
        For each slice of the table a multi-hot row.

    Raises:
        InputError: The table cannot be read or is not as described.
    """
    tags: dict[int, list[int]] = {}
    for line, row in enumerate(_rows(path, case, classes), start=2):
        try:
            number = int(row[SLICE])
            values = [int(row[name]) for name in classes]
        except (TypeError, ValueError):
            number, values = -1, []
        if not 0 <= number < slices or number in tags or set(values) - {0, 1}:
            raise InputError(
                f"{path}: line {line} of the tags of case {case} is wrong; each line needs a new "
                f"slice number from 0 to {slices - 1} and 0 or 1 for each class"
            )
        tags[number] = values
    return tags


def _rows(path: Path, case: str, classes: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            # Asked for while the file is open: of an empty file the names are read again.
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: tags of case {case} cannot be read ({type(error).__name__}); check the file"
        ) from None
    for name in (SLICE, *classes):
        if name not in columns:
            raise InputError(f"{path}: tags of case {case} have no column `{name}`; add it")
    return rows
