"""A datalist's values are what they must be; none is turned into a path or a name by force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsseg.data.layouts import find_cases
from wsseg.data.tags import SliceTags
from wsseg.utils.errors import InputError, results

IMAGES = {"T1": "a.nii"}


def write(folder: Path, case: dict[str, object], **changes: object) -> Path:
    content = {"modalities": ["T1"], "classes": {"tumour": [1]}, "cases": [case]}
    path = folder / "list.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize("name", ["list.json", "list.yaml"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, name: str) -> None:
    written = write(tmp_path, {"id": "a", "images": IMAGES}).read_text()
    (tmp_path / name).write_text(written, encoding="utf-8-sig")
    assert find_cases("datalist", tmp_path / name).cases[0].id == "a"


def test_yaml_makes_numbers_of_ids(tmp_path: Path) -> None:
    """Octal ones, too: these would be called 7 and 8."""
    cases = "\n".join(f"  - {{id: {name}, images: {{T1: a.nii}}}}" for name in ("007", "010"))
    (tmp_path / "list.yaml").write_text(f"modalities: [T1]\ncases:\n{cases}\n")
    with pytest.raises(InputError, match=r"as 7; quote the id\n.* as 8; quote the id"):
        results(find_cases("datalist", tmp_path / "list.yaml").faults)


@pytest.mark.parametrize("name", ["list.json", "list.yaml"])
@pytest.mark.parametrize(
    ("value", "slices"),
    [
        (1, range(8)),
        (True, range(8)),
        (0, []),
        ([], []),
        ([2], [2]),
        (["1-3", 5], [1, 2, 3, 5]),
        ("1-3;5", [1, 2, 3, 5]),
    ],
)
def test_tags_in_the_list_itself(
    tmp_path: Path, name: str, value: object, slices: list[int]
) -> None:
    written = write(tmp_path, {"id": "a", "images": IMAGES, "tags": {"tumour": value}})
    (tmp_path / name).write_text(written.read_text())  # JSON is YAML, too
    found = find_cases("datalist", tmp_path / name)
    tags = found.cases[0].tags
    assert isinstance(tags, SliceTags)
    assert tags.rows(found.classes, 8) == {n: [int(n in slices)] for n in range(8)}


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({}, "has no tag of class `tumour` .*; add it"),
        ({"Tumour": 1}, r"has no tag of class `tumour` \(found: `Tumour`\); add it"),
        ({"tumour": 5}, "`tumour` is '5'; give 0 or 1 for all slices, or those"),
        ({"tumour": [8]}, r"`tumour` is '8-8'; .* from 0 to 7, such as 12-40;55"),
        ({"tumour": ["3-1"]}, "`tumour` is '3-1'; give"),
        ({"tumour": [[1]]}, r"`tumour` is '\[1\]'; give"),
        ({"tumour": {"a": 1}}, "`tumour` is .*; give"),
    ],
)
def test_wrong_tags_in_the_list_itself(tmp_path: Path, tags: object, problem: str) -> None:
    path = write(tmp_path, {"id": "a", "images": IMAGES, "tags": tags})
    found = find_cases("datalist", path)
    with pytest.raises(InputError, match=problem) as caught:
        found.cases[0].tags.rows(found.classes, 8)  # type: ignore[union-attr]
    assert str(caught.value).startswith(f"{path}: tags of case a: ")


@pytest.mark.parametrize("absent", [None, ""])
def test_masks_may_be_absent(tmp_path: Path, absent: object) -> None:
    path = write(tmp_path, {"id": "7", "images": IMAGES, "mask": absent, "tags": absent})
    (case,) = find_cases("datalist", path).cases
    assert (case.id, case.mask, case.tags) == ("7", None, None)
    assert case.images["T1"].path == tmp_path / "a.nii"
