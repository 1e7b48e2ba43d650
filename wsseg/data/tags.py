"""Image-level tags of a case: from a table of its slices, or from the list of cases itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr  # noqa: A004 (which shortens what is long)

from wsseg.data.tables import read_table
from wsseg.utils.errors import InputError

SLICE = "slice"
WHOLE = re.compile(r"([0-9]+)([.,]0*)?")
WORDS = {"true": 1, "yes": 1, "false": 0, "no": 0}  # as Excel and people write them
RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
BETWEEN_RANGES = re.compile(r"[;,\s]+")
UNKNOWN = ""  # a cell that says that nobody knows

Classes = Mapping[str, Sequence[int]]
Rows = dict[int, list[int | None]]
"""For each slice a flag for each class; None where nobody knows."""


@dataclass(frozen=True)
class SliceTags:
    """Tags of a case that stand in the list of cases itself.

    Attributes:
        place: Where they stand, for messages, such as ``tags.csv: line 7``.
        cells: For each class 0 or 1 of all slices, or the slices that show it, such as
            ``12-40;55``, counted as in a table of slices; or nothing where nobody knows.
        labels: The mask labels of each of these classes: a class that is not among them is tagged
            where any of those is that have no other labels than it has.

    Example:
        >>> tags = SliceTags("tags.csv: line 7", {"cyst": "0", "mass": "1-2"},
        ...                  {"cyst": (1,), "mass": (2,)})
        >>> tags.rows({"cyst": (1,), "lesion": (1, 2)}, slices=4)
        {0: [0, 0], 1: [0, 1], 2: [0, 1], 3: [0, 0]}
    """

    place: str
    cells: dict[str, str]
    labels: dict[str, tuple[int, ...]]

    @property
    def names_slices(self) -> bool:
        """Whether they tell slices apart."""
        return any(is_tag(cell) and read_flag(cell) is None for cell in self.cells.values())

    @property
    def show_nothing(self) -> bool:
        """Whether every class is known to be absent."""
        return all(read_flag(cell) == 0 for cell in self.cells.values())

    @property
    def shown_labels(self) -> set[int]:
        """The labels of the classes that are tagged."""
        shown = [name for name, cell in self.cells.items() if is_tag(cell) and read_flag(cell) != 0]
        return {label for name in shown for label in self.labels.get(name, ())}

    def rows(self, classes: Classes, slices: int) -> Rows:
        """Return a multi-hot row for each slice.

        Args:
            classes: The mask labels of each class.
            slices: Number of slices of the volume.

        Raises:
            InputError: A class has no tag, or one that is not valid.
        """
        columns = [self._column(name, labels, slices) for name, labels in classes.items()]
        return {number: list(row) for number, row in enumerate(zip(*columns, strict=True))}

    def _column(self, name: str, labels: Sequence[int], slices: int) -> list[int | None]:
        parts = [part for part, own in self.labels.items() if set(own) <= set(labels)]
        names = [name] if name in self.cells else [part for part in parts if part in self.cells]
        if not names:
            known = ", ".join(f"`{known}`" for known in self.cells) or "none"
            raise InputError(f"{self.place}: has no tag of class `{name}` (found: {known}); add it")
        columns = [self._flags(part, slices) for part in names]
        return [_any_of(flags) for flags in zip(*columns, strict=True)]

    def _flags(self, name: str, slices: int) -> Sequence[int | None]:
        cell = self.cells[name]
        flag = read_flag(cell)
        if flag is not None or cell == UNKNOWN:
            return [flag] * slices
        spans = _spans(cell)
        if spans is None or any(first > last or last >= slices for first, last in spans):
            what = f"{self.place}: `{name}` is {repr(cell)}"
            if slices == 1:
                raise InputError(f"{what}; give 0 or 1")
            raise InputError(
                f"{what}; give 0 or 1 for all slices, or those that show it, from 0 to "
                f"{slices - 1}, such as 12-40;55 (or 55-55)"
            )
        return [int(any(a <= n <= b for a, b in spans)) for n in range(slices)]


def is_tag(cell: str) -> bool:
    """Tell whether a cell can be a tag: 0, 1, true, false, yes, no, or ranges of slices.

    A number by itself is none: it may be an age. ``55-55`` is a slice by itself.

    Example:
        >>> [cell for cell in ("1", "0.0", "yes", "12-40;55", "57", "mild", "") if is_tag(cell)]
        ['1', '0.0', 'yes', '12-40;55']
    """
    return read_flag(cell) is not None or _spans(cell) is not None


def read_flag(cell: str) -> int | None:
    """Return 0 or 1 where that is what a cell says, in numbers or words; otherwise None."""
    match = WHOLE.fullmatch(cell)
    number = match[1].lstrip("0") if match else None
    if number in ("", "1"):
        return int(number or 0)
    return WORDS.get(cell.lower())


def _any_of(flags: Sequence[int | None]) -> int | None:
    """Return 1 if any is 1, None if else any is None, and otherwise 0."""
    return 1 if 1 in flags else None if None in flags else 0


def read_tags(tags: Path | SliceTags, case: str, classes: Classes, slices: int) -> Rows:
    r"""Read which classes each slice shows.

    Args:
        tags: Table with the column ``slice`` (slice number along the slicing axis of the volume in
            RAS orientation, from 0 at the left, posterior or inferior end) and a column of 0 and 1
            for each class, empty where nobody knows; or tags that stand in the list of cases.
        case: Name of the case, for messages.
        classes: Names of the classes, with their mask labels.
        slices: Number of slices of the volume.

    Returns:
        For each slice of the table a multi-hot row.

    Raises:
        InputError: The table cannot be read or is not as described.

    Example:
        >>> table = Path(getfixture("tmp_path")) / "tags.csv"
        >>> _ = table.write_text("slice,tumour,core\n7,1,0\n8,1,1\n")
        >>> read_tags(table, "ann", {"tumour": [1, 2], "core": [2]}, slices=155)
        {7: [1, 0], 8: [1, 1]}
    """
    if isinstance(tags, SliceTags):
        return tags.rows(classes, slices)
    table = read_table(tags)
    columns = [table.column(name) for name in (SLICE, *classes)]
    found: Rows = {}
    for line, (where, *cells) in zip(table.lines, zip(*columns, strict=True), strict=True):
        match = WHOLE.fullmatch(where)
        number = int(match[1].lstrip("0")[:9] or 0) if match else -1
        flags = [read_flag(cell) for cell in cells]
        wrong = any(cell != UNKNOWN and read_flag(cell) is None for cell in cells)
        if not 0 <= number < slices or number in found or wrong:
            named = zip((SLICE, *classes), (where, *cells), strict=True)
            told = ", ".join(f"{name} {repr(cell)}" for name, cell in named)
            raise InputError(
                f"{tags}: line {line} of the tags of case {case} is not valid ({told}); each line "
                f"needs a slice number from 0 to {slices - 1} and 0 or 1 for each class, or "
                "nothing where nobody knows, and no slice may come twice"
            )
        found[number] = flags
    return found


def compare_tags(
    tags: Path | SliceTags, case: str, table: Rows, shown: Sequence[list[int]]
) -> str | None:
    """Compare a table with the mask of the same case.

    Tags may be noisy: that they differ here and there is no reason to refuse them. That they were
    counted from the other end is, for then they teach nonsense without anyone noticing.

    Args:
        tags: Where the tags stand, for messages.
        case: Name of the case, for messages.
        table: For each slice of the table a multi-hot row.
        shown: Of every slice of the volume, what its mask shows.

    Returns:
        Where they differ, or None.

    Raises:
        InputError: The table fits at least twice as well from the other end.
    """
    wrong = sorted(number for number, row in table.items() if _differs(row, shown[number]))
    if not wrong:
        return None
    places = f"in {len(wrong)} of {len(table)} slices, first in slice {wrong[0]}"
    place = tags.place if isinstance(tags, SliceTags) else tags
    found = f"{place}: tags of case {case} disagree with its mask {places}"
    last = len(shown) - 1
    backwards = sum(_differs(row, shown[last - number]) for number, row in table.items())
    if 2 * backwards < len(wrong):
        other = f" (or are they of another axis? there are {last + 1} slices along --axis)"
        raise InputError(
            f"{found}; slices are counted from 0 at the left, posterior or inferior end, and these "
            f"look reversed: reverse the slice numbers, or correct the mask"
            f"{'' if len(table) > last else other}"
        )
    return found


def _differs(given: Sequence[int | None], shown: Sequence[int]) -> bool:
    """Tell whether any tag that is known differs."""
    return any(tag not in (None, other) for tag, other in zip(given, shown, strict=True))


def _spans(cell: str) -> list[tuple[int, int]] | None:
    """Return first and last slice of each range, such as 12-40;55; None if a cell holds others."""
    matches = [RANGE.fullmatch(part) for part in BETWEEN_RANGES.split(cell) if part]
    spans = [(int(match[1]), int(match[2] or match[1])) for match in matches if match]
    lone = cell.isdecimal()
    return spans if matches and len(spans) == len(matches) and not lone else None
