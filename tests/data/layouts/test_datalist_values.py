"""A datalist's values are what they must be; none is turned into a path or a name by force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsseg.data.layouts import find_cases
from wsseg.utils.errors import InputError, results

IMAGES = {"T1": "a.nii"}


def write(folder: Path, case: dict[str, object], **changes: object) -> Path:
    content = {"modalities": ["T1"], "classes": {"tumour": [1]}, "cases": [case]}
    path = folder / "list.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize(
    ("case", "word"),
    [
        ({"id": "a", "images": {"T1": None}}, "image T1 of case a is None"),
        ({"id": "a", "images": {"T1": ""}}, "image T1 of case a is ''"),
        ({"id": "a", "images": IMAGES, "mask": 3}, "mask of case a is 3"),
        ({"id": "a", "images": IMAGES, "mask": False}, "mask of case a is False"),
        ({"id": "a", "images": IMAGES, "tags": ["t.csv"]}, "tags of case a is"),
        ({"id": "a", "images": IMAGES, "patient": 7}, "patient of case a is 7; quote"),
        ({"id": None, "images": IMAGES}, "case number 1 needs `id`"),
        ({"id": True, "images": IMAGES}, "id of case number 1 is read as True; quote the id"),
        ({"id": 7, "images": IMAGES}, "id of case number 1 is read as 7; quote the id"),
    ],
)
def test_values_that_are_no_path_or_name(
    tmp_path: Path, case: dict[str, object], word: str
) -> None:
    with pytest.raises(InputError, match=word) as caught:
        results(find_cases("datalist", write(tmp_path, case)).faults)
    assert "list.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truth_is_no_label(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "a", "images": IMAGES}, classes={"tumour": [True]})
    with pytest.raises(InputError, match="list of whole numbers"):
        find_cases("datalist", path)


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


@pytest.mark.parametrize("absent", [None, ""])
def test_masks_may_be_absent(tmp_path: Path, absent: object) -> None:
    path = write(tmp_path, {"id": "7", "images": IMAGES, "mask": absent, "tags": absent})
    (case,) = find_cases("datalist", path).cases
    assert (case.id, case.mask, case.tags) == ("7", None, None)
    assert case.images["T1"].path == tmp_path / "a.nii"
