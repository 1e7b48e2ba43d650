"""Image-level tags of a case from a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr  # noqa: A004 (which shortens what is long)

from wsseg.utils.errors import InputError

SLICE = "slice"
WHOLE = re.compile(r"([0-9]+)(\.0*)?")


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
    for line, row in _rows(path, case, classes):
        try:
            number = _whole(row[SLICE])
            values = [_whole(row[name]) for name in classes]
        except ValueError:
            number, values = -1, []
        if not 0 <= number < slices or number in tags or set(values) - {0, 1}:
            cells = ", ".join(f"{name} {repr(row[name])}" for name in (SLICE, *classes))
            raise InputError(
                f"{path}: line {line} of the tags of case {case} is not valid ({cells}); each line "
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
    """Read a whole number, also as tables of floating-point numbers hold it, such as 1.0.

    Python's own int takes 1_0 for 10, and digits of any script.
    """
    match = WHOLE.fullmatch(text.strip(" "))
    if match is None:
        raise ValueError(text)
    return int(match[1])


def _rows(path: Path, case: str, classes: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line of a table and its cells by column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except UnicodeError:
        raise InputError(
            f"{path}: tags of case {case} are not encoded in UTF-8; save the table as CSV in UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: tags of case {case} cannot be read ({reason}); check the file"
        ) from None
    columns = lines[0][1] if lines else []
    for name in (SLICE, *classes):
        if columns.count(name) != 1:
            found = ", ".join(f"`{column}`" for column in columns) or "none"
            many, advice = ("no", "add it") if name not in columns else ("two", "remove one")
            advice = "separate columns by commas" if len(columns) == 1 else advice
            raise InputError(
                f"{path}: tags of case {case} have {many} column{'s' * (many == 'two')} `{name}` "
                f"(found: {found}); {advice}"
            )
    if len(lines) == 1:
        raise InputError(f"{path}: tags of case {case} have no line below the names; add them")
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError(
                f"{path}: line {number} of the tags of case {case} has {len(cells)} cells for "
                f"{len(columns)} columns; correct it"
            )
        yield number, dict(zip(columns, cells, strict=True))
