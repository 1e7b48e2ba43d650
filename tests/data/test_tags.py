"""Tags are taken as they are written, or refused with their file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsseg.data.tags import SliceTags, compare_tags, read_tags
from wsseg.utils.errors import InputError

TUMOUR = {"tumour": (1,)}


@pytest.mark.parametrize(
    "rows",
    [
        "0,1\n10,0",
        " 0 , 1 \n10,  0",
        "0.0,1.0\n10.,0.00",
        "\n0,1\n\n10,0\n\n",
        "0,1\r\n10,0\r\n",
        "0,yes\n10,FALSE",
        "0,true\n,\n10,No",
    ],
)
def test_whole_numbers(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(f"slice,tumour\n{rows}", newline="")
    assert read_tags(path, "ann", TUMOUR, 12) == {0: [1], 10: [0]}


def test_further_columns_are_of_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('slice,note,tumour,\n0,"small, round",1,\n1,,0,')
    assert read_tags(path, "ann", TUMOUR, 12) == {0: [1], 1: [0]}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        *((row, "is not valid") for row in ("1_0,1", "1,7", "1,-1", "1,0.5", ",1", "1,1e0")),
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
    assert message.startswith(f"{path}: line 4 ")
    assert problem in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("slice,tumour,tumour\n0,0,1\n", "has two columns `tumour`"),
        ("slice,slice,tumour\n0,1,1\n", "has two columns `slice`"),
        ("slice,Tumour\n0,0\n", "has no column `tumour`"),
        ("slice,tumour\n", "has no line below the names"),
        ("0,1\n1,0\n", "has no column `slice`"),
        ('slice,tumour\n0,"1\n1,0', "cannot be read"),
        ("slice,tumour\n0,1\x00\n", "is no text"),
    ],
)
def test_a_wrong_table(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(content)
    assert problem in refused(path)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tags(path, "ann", TUMOUR, 12)
    message = str(caught.value)
    assert str(path) in message
    assert "; " in message
    assert "\n" not in message
    return message


def inline(cell: str) -> SliceTags:
    return SliceTags("list.csv: line 3", {"tumour": cell}, {"tumour": (1,)})


@pytest.mark.parametrize(
    ("cell", "slices"),
    [
        ("0", []),
        ("0.0", []),
        ("no", []),
        ("1", range(12)),
        ("1,0", range(12)),
        ("True", range(12)),
        ("3-5", [3, 4, 5]),
        ("3-5;11", [3, 4, 5, 11]),
        ("7-7", [7]),
        ("0-1, 1-2 4-4", [0, 1, 2, 4]),
    ],
)
def test_tags_of_a_volume_in_one_cell(cell: str, slices: list[int]) -> None:
    rows = read_tags(inline(cell), "ann", TUMOUR, 12)
    assert rows == {n: [int(n in slices)] for n in range(12)}


@pytest.mark.parametrize(
    "cell",
    ["2", "5-3", "3-12", "3-", "-3", "3-5-7", "x", "1e0", ";", "Dec 40", "1-2;x", "\u0661"],
)
def test_a_wrong_cell(cell: str) -> None:
    with pytest.raises(InputError, match=r"list.csv: line 3: `tumour` is .*; give 0 or 1 for all"):
        read_tags(inline(cell), "ann", TUMOUR, 12)
    with pytest.raises(InputError, match=r"list.csv: line 3: `tumour` is .*; give 0 or 1$"):
        read_tags(inline(cell), "ann", TUMOUR, 1)


def test_a_class_that_joins_others() -> None:
    tags = SliceTags("list", {"cyst": "1-2", "mass": "2-3"}, {"cyst": (1,), "mass": (2,)})
    rows = tags.rows({"lesion": (1, 2), "mass": (9,)}, 5)
    assert rows == {0: [0, 0], 1: [1, 0], 2: [1, 1], 3: [1, 1], 4: [0, 0]}
    with pytest.raises(InputError, match="list: has no tag of class `scar`"):
        tags.rows({"scar": (3,)}, 5)


def test_ranges_that_were_counted_from_the_other_end() -> None:
    tags = inline("2-5")
    shown = [[int(6 <= n <= 9)] for n in range(12)]
    with pytest.raises(InputError, match=r"^list.csv: line 3: tags of case ann .* look reversed"):
        compare_tags(tags, "ann", tags.rows(TUMOUR, 12), shown)


def test_an_empty_cell_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("slice,tumour,core\n0,1,\n1,,0\n2,0,0")
    classes = {"tumour": (1, 2), "core": (2,)}
    table = read_tags(path, "ann", classes, 3)
    assert table == {0: [1, None], 1: [None, 0], 2: [0, 0]}
    assert compare_tags(path, "ann", table, [[1, 1], [1, 0], [0, 0]]) is None
    assert compare_tags(path, "ann", table, [[1, 1], [1, 1], [0, 0]]) is not None
    given = SliceTags("x", {"cyst": "", "mass": "1-1"}, {"cyst": (1,), "mass": (2,)})
    joined = {"lesion": (1, 2), "cyst": (1,)}  # known where one of its parts is there
    assert given.rows(joined, 3) == {0: [None, None], 1: [1, None], 2: [None, None]}
