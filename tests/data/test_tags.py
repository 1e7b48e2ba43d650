"""A table of tags is taken as it is written, or refused with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsseg.data.tags import read_tags
from wsseg.utils.errors import InputError


@pytest.mark.parametrize(
    "rows",
    ["0,1\n10,0", " 0 , 1 \n10,  0", "0.0,1.0\n10.,0.00", "\n0,1\n\n10,0\n\n", "0,1\r\n10,0\r\n"],
)
def test_whole_numbers(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(f"slice,tumour\n{rows}", newline="")
    assert read_tags(path, "ann", ["tumour"], 12) == {0: [1], 10: [0]}


def test_further_columns_are_of_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('slice,note,tumour,\n0,"small, round",1,\n1,,0,')
    assert read_tags(path, "ann", ["tumour"], 12) == {0: [1], 1: [0]}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        *((row, "is not valid") for row in ("1_0,1", "1,7", "1,-1", "1,0.5", "1,", ",1", "1,1e0")),
        *(
            (row, "is not valid")
            for row in ("\uff11,1", "\u0661,1", "1,\uff11", "0x1,1", "+1,1", "1 0,1", "1,x")
        ),
        *(
            (row, "is not valid")
            for row in ("nan,1", "1,inf", "12,1", "-1,1", "0,1", "9" * 5000 + ",1")
        ),
        ("1,1,1", "has 3 cells for 2 columns"),
        ("1,1,", "has 3 cells for 2 columns"),
        ("1", "has 1 cells for 2 columns"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(f"slice,tumour\n\n0,1\n{row}\n2,0\n", encoding="utf-8")
    message = refused(path)
    assert message.startswith(f"{path}: line 4 of the tags of case ann {problem}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("slice,tumour,tumour\n0,0,1\n", "have two columns `tumour`"),
        ("slice,slice,tumour\n0,1,1\n", "have two columns `slice`"),
        ("slice,Tumour\n0,0\n", "have no column `tumour`"),
        ("slice,tumour\n", "have no line below the names"),
        ("0,1\n1,0\n", "have no column `slice`"),
        ('slice,tumour\n0,"1\n1,0', "cannot be read"),
        ("slice,tumour\n0,1\x00\n", "line 2"),
    ],
)
def test_a_wrong_table(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(content)
    assert problem in refused(path)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tags(path, "ann", ["tumour"], 12)
    message = str(caught.value)
    assert str(path) in message
    assert "; " in message
    assert "\n" not in message
    return message
