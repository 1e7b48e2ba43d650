"""Tables are read as people have them, or refused in one line that names the file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from openpyxl import Workbook

from wsseg.data.tables import read_table
from wsseg.utils.errors import InputError

ROWS = [["image", "who", "lesion"], ["a, b.png", "Käthe", "1"], ["c.png", "", "0"]]


def write_text(path: Path, mark: str, encoding: str, end: str = "\n") -> None:
    lines = [mark.join(f'"{c}"' if mark in c else c for c in row) for row in ROWS]
    path.write_text(end.join(lines) + end, encoding=encoding, newline="")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text(tmp_path: Path, mark: str, encoding: str, end: str) -> None:
    write_text(tmp_path / "t.csv", mark, encoding, end)
    table = read_table(tmp_path / "t.csv")
    assert [list(table.columns), *map(list, table.rows)] == ROWS
    assert table.lines == (2, 3)
    assert table.column("lesion") == ["1", "0"]


def test_what_programs_add(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('sep=;\n\nimage ; lesion;\n "a;b";1 ;\n;;\n\nc;0;\n')
    table = read_table(path)
    assert table.columns == ("image", "lesion", "")
    assert dict(zip(table.lines, table.rows, strict=True)) == {
        4: ("a;b", "1", ""),
        7: ("c", "0", ""),
    }


def test_a_single_column(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("image\na.png\n")
    assert read_table(tmp_path / "t.txt").rows == (("a.png",),)


def workbook(path: Path, rows: list[list[object]]) -> Path:
    book = Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.create_sheet("other").append(["nothing"])
    book.save(path)
    return path


def test_a_workbook(tmp_path: Path) -> None:
    rows = [["image", "patient", "lesion", "note"], ["a.png", 7, True, None], [], ["b.png", 8.0, 0]]
    table = read_table(workbook(tmp_path / "t.xlsx", rows))
    assert table.columns == ("image", "patient", "lesion", "note")
    assert table.rows == (("a.png", "7", "1", ""), ("b.png", "8", "0", ""))
    assert table.lines == (2, 4)


def test_a_workbook_whose_cells_lie_far_apart(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    sheet["A1"], sheet["A2"], sheet["XFD1048576"] = "image", "a.png", "far"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match=r"t\.xlsx: has more than 200,000 lines; save it as CSV"):
        read_table(tmp_path / "t.xlsx")


def test_a_workbook_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [["image"], ["a.png"]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/zeros", bytes(201 * 2**20))
    with pytest.raises(InputError, match=r"t\.xlsx: unpacks to 201 MB; save the table as CSV"):
        read_table(path)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,b\n1,2,3\n")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"has no column `c` \(found: `a`, `b`, `b`\); add it"):
        table.column("c")
    with pytest.raises(InputError, match=r"has two columns `b` .*; remove one"):
        table.column("b")
    with pytest.raises(InputError, match=r"cannot be read .*; check the file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path)
