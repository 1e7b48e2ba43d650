"""Reads tables as people have them: text with commas, semicolons or tabs, and Excel workbooks."""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from wsseg.utils.errors import InputError

DELIMITERS = ",;\t"
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # which Excel reads and hides
WORKBOOK, OLD_WORKBOOK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # how files of Excel begin
# Of a workbook. A table of images has thousands of lines; the rest is empty cells with a format,
# or a small archive that unpacks to something enormous.
MOST_BYTES, MOST_ROWS, MOST_COLUMNS = 200 * 2**20, 200_000, 1_000
Line = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        path: The file.
        columns: Names of the columns, as the first line has them.
        lines: Number of the line of each row.
        rows: A cell for each column, without blanks around it.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            InputError: There is no such column, or two.
        """
        if self.columns.count(name) != 1:
            found = ", ".join(f"`{column}`" for column in self.columns) or "none"
            many, advice = ("no", "add it") if name not in self.columns else ("two", "remove one")
            raise InputError(
                f"{self.path}: has {many} column{'s' * (many == 'two')} `{name}` (found: {found}); "
                f"{advice}"
            )
        number = self.columns.index(name)
        return [row[number] for row in self.rows]


def read_table(path: Path) -> Table:
    r"""Read a table: text in UTF-8 or UTF-16, or the first sheet of an Excel workbook (.xlsx).

    Of commas, semicolons and tabs, that which makes most columns of the first line separates them.
    Lines without any text are left out.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be read, has no line below the names of the columns, or a line has
            more or fewer cells than there are columns.

    Example:
        >>> path = Path(getfixture("tmp_path")) / "tags.csv"
        >>> _ = path.write_text("image;lesion\nann.png;1\n")
        >>> table = read_table(path)
        >>> table.columns, table.rows
        (('image', 'lesion'), (('ann.png', '1'),))
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the file of the table")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from None
    if content.startswith(OLD_WORKBOOK):
        raise InputError(
            f"{path}: is an old or protected Excel workbook; save it as .xlsx without a password"
        )
    found = _sheet(path) if content.startswith(WORKBOOK) else _text(path, content)
    lines = [line for line in found if any(line[1])]
    if not lines:
        raise InputError(f"{path}: is empty; give a table with names of columns in its first line")
    columns = tuple(lines[0][1])
    if len(lines) == 1:
        raise InputError(f"{path}: has no line below the names of the columns; add them")
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError(
                f"{path}: line {number} has {len(cells)} cells for {len(columns)} columns; correct "
                "it, or put text that holds the separator in quotation marks"
            )
    numbers, rows = zip(*lines[1:], strict=True)
    return Table(path, columns, numbers, tuple(map(tuple, rows)))


def _text(path: Path, content: bytes) -> list[Line]:
    """Return the cells of a text file, with the numbers of lines."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeError:
        raise InputError(
            f"{path}: is not encoded in UTF-8; save the table as CSV in UTF-8"
        ) from None
    if "\0" in text:  # which no program writes into text
        raise InputError(f"{path}: is no text; save the table as CSV in UTF-8")
    said = SEPARATOR_LINE.match(text)
    stream = io.StringIO(text, newline="")
    delimiter = said[1] if said else _delimiter(text)
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    if said:
        next(reader)
    try:
        return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(
            f"{path}: cannot be read at line {reader.line_num} ({error}); check the file"
        ) from None


def _delimiter(text: str) -> str:
    head = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]

    def columns(mark: str) -> int:
        try:
            return len(next(csv.reader([head], delimiter=mark)))
        except csv.Error:  # which reading the table will raise again
            return 0

    return max(DELIMITERS, key=columns)


def _sheet(path: Path) -> list[Line]:
    """Return the cells of the first sheet of a workbook, with the numbers of lines."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise InputError(
                f"{path}: unpacks to {size / 2**20:.0f} MB; save the table as CSV in UTF-8"
            )
        with warnings.catch_warnings():  # of styles that it does not know
            warnings.simplefilter("ignore")
            rows = _cells(path, formulas=False)
            _check_formulas(path, rows, _cells(path, formulas=True))
    except InputError:
        raise
    except Exception as error:  # a damaged archive or XML fails in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: is not a readable Excel workbook ({reason}); save the table as CSV in UTF-8"
        ) from None
    if len(rows) > MOST_ROWS:
        raise InputError(f"{path}: has more than {MOST_ROWS:,} lines; save it as CSV in UTF-8")
    width = max(map(len, rows), default=0)
    return [(n, row + [""] * (width - len(row))) for n, row in enumerate(rows, start=1)]


def _cells(path: Path, *, formulas: bool) -> list[list[str]]:
    """Return the first sheet of a workbook: its formulas, or what they gave when it was saved."""
    import openpyxl  # takes a third of a second

    book = openpyxl.load_workbook(path, read_only=True, data_only=not formulas)
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # what the file says of them may be wrong
    cells = sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True)
    rows = [_trimmed(row) for row in islice(cells, MOST_ROWS + 1)]
    book.close()
    return rows


def _check_formulas(path: Path, rows: list[list[str]], formulas: list[list[str]]) -> None:
    """Refuse formulas without a result, which would be taken for empty cells."""
    for line, (row, typed) in enumerate(zip(rows, formulas, strict=False), start=1):
        for column, cell in enumerate(typed):
            if cell.startswith("=") and not any(row[column : column + 1]):
                raise InputError(
                    f"{path}: line {line} has a formula without its result, {cell}; open the "
                    "workbook in Excel or LibreOffice and save it, or save it as CSV in UTF-8"
                )


def _trimmed(row: Sequence[Any]) -> list[str]:
    """Return the cells of a row as text, up to the last that holds any."""
    if row.count(None) == len(row):  # most rows, where two cells lie far apart
        return []
    cells = list(map(_as_text, row))
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):  # which Excel also makes of 12-40
        return f"{value:%Y-%m-%d}"
    return str(value).strip()
