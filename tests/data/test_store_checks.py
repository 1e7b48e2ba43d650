"""A store that was changed or copied in part is refused when it is opened, with file and remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsseg.data.masked import masks_of
from wsseg.data.store import SliceStore
from wsseg.utils.errors import InputError

MakeStore = Callable[..., Path]


def refused(read: Callable[[], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("; prepare the store again")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("entry", "value", "problem"),
    [
        ("tags", [[0], [1], [0], [7], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], [-1], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], [0.5], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], ["1"], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], [True], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], [[1]], [0], [1]], "`tags` other than 0, 1 and null"),
        ("tags", [[0], [1], [0], [1, 0], [0], [1]], "`tags` that are not 1 in each slice"),
        ("tags", [[0], [1], [0], [], [0], [1]], "`tags` that are not 1 in each slice"),
        ("tags", [[0], [1], [0]], "`positions` that are not a number for each of its 3 slices"),
        ("tags", [0, 1, 0, 1, 0, 1], "no list of `tags`"),
        ("tags", [], "no list of `tags`"),
        ("tags", None, "no list of `tags`"),
        ("positions", [10, 11, 12], "`positions` that are not a number for each of its 6 slices"),
        ("positions", [10, 11, 12, 13, 14, 14], "`positions` that do not ascend"),
        ("positions", [15, 14, 13, 12, 11, 10], "`positions` that do not ascend"),
        ("positions", [-1, 11, 12, 13, 14, 15], "`positions` that do not ascend"),
        ("positions", [10, 11, 12, 13, 14, 15.5], "`positions` that are not a number for each"),
        ("positions", None, "`positions` that are not a number for each"),
        ("slices", 5, "5 `slices`, but tags of 6"),
        ("spacing", [1.0, 1.0], "no `spacing` of three sizes"),
        ("spacing", [1.0, 1.0, 0.0], "no `spacing` of three sizes"),
        ("spacing", [1.0, 1.0, float("nan")], "no `spacing` of three sizes"),
        ("spacing", "1 mm", "no `spacing` of three sizes"),
        ("content", {}, "no hash of its images"),
        ("content", {"FLAIR": 1}, "no hash of its images"),
        ("patient", 7, "a `patient` that is no name"),
    ],
)
def test_an_entry_of_a_case(
    make_store: MakeStore, tmp_path: Path, entry: str, value: Any, problem: str
) -> None:
    path = change(
        make_store(tmp_path), lambda manifest: manifest["cases"][0].update({entry: value})
    )
    message = refused(lambda: SliceStore(tmp_path), path)
    assert f"is damaged (case a has {problem}" in message


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (["spec"], None, "`spec` is not usable"),
        (["spec", "modalities"], [], "`spec` is not usable"),
        (["spec", "modalities"], ["T1", "T1"], "`spec` is not usable"),
        (["spec", "modalities"], "T1", "`spec` is not usable"),
        (["spec", "classes"], {}, "`spec` is not usable"),
        (["spec", "classes"], {"tumour": ["1"]}, "`spec` is not usable"),
        (["spec", "axis"], "oblique", "`spec` is not usable"),
        (["spec", "spacing"], -1.0, "`spec` is not usable"),
        (["spec", "size"], [32], "`spec` is not usable"),
        (["spec", "size"], [32, float("inf")], "`spec` is not usable"),
        (["spec", "size"], [32, 0], "`spec` is not usable"),
        (["spec", "size"], [32, 32.5], "`spec` is not usable"),
        (["spec", "pixel"], [1.0], "`spec` is not usable"),
        (["spec", "pixel"], [1.0, 0.0], "`spec` is not usable"),
        (["spec", "plan"], None, "`spec` is not usable"),
        (["spec", "plan", "normalisation"], "none", "`spec` is not usable"),
        (["spec", "plan", "body"], 3, "`spec` is not usable"),
        (["spec", "plan", "symmetric"], "yes", "`spec` is not usable"),
        (["spec", "plan", "scales"], [[0, 1, 0, 1]], "`spec` is not usable"),
        (["spec", "plan", "longest_side"], -1, "`spec` is not usable"),
        (["spec", "plan", "unknown"], 1, "`spec` is not usable"),
        (["spec", "plan", "reference"], {"filling": [1, 0]}, "`spec` is not usable"),
        (["options"], [], "`options` is no mapping"),
        (["options"], {"slice_step": 0}, "`slice_step` is no number above 0"),
        (["options"], {"slice_step": 2}, "case a has `positions` that do not ascend in steps of 2"),
        (["cases"], [], "`cases` is no list of cases"),
        (["cases"], {"a": 1}, "`cases` is no list of cases"),
        (["cases", 1], "b", "a case has no `id`"),
        (["cases", 1, "id"], 7, "a case has no `id`"),
        (["cases", 1, "id"], "a", "case a is there twice"),
    ],
)
def test_the_manifest(
    make_store: MakeStore, tmp_path: Path, place: list[Any], value: Any, problem: str
) -> None:
    def put(manifest: dict[str, Any]) -> None:
        inner: Any = manifest
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value

    path = change(make_store(tmp_path), put)
    assert problem in refused(lambda: SliceStore(tmp_path), path)


def test_a_pixel_has_two_sides(make_store: MakeStore, tmp_path: Path) -> None:
    change(make_store(tmp_path), lambda manifest: manifest["spec"].update(pixel=[1.0, 2.0]))
    assert SliceStore(tmp_path).spec.pixel == (1.0, 2.0)


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "[" * 100_000, "\ud800"])
def test_a_manifest_that_is_none(make_store: MakeStore, tmp_path: Path, content: str) -> None:
    path = make_store(tmp_path) / "manifest.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    assert "is damaged" in refused(lambda: SliceStore(tmp_path), path)


def test_an_id_that_leads_out_of_the_store(make_store: MakeStore, tmp_path: Path) -> None:
    change(make_store(tmp_path), lambda manifest: manifest["cases"][0].update(id="../a"))
    with pytest.raises(InputError, match=r"manifest\.json: case id '\.\./a' cannot be used"):
        SliceStore(tmp_path)


@pytest.mark.parametrize("folder", ["images", "valid", "masks"])
@pytest.mark.parametrize("damage", ["slice", "side", "channel", "type", "cut", "text", "objects"])
def test_an_array(make_store: MakeStore, tmp_path: Path, folder: str, damage: str) -> None:
    path = make_store(tmp_path) / folder / "c.npy"
    array = np.load(path)
    changed: dict[str, np.ndarray] = {
        "slice": array[1:],
        "side": array[..., :-1],
        "channel": array[:, None],
        "type": array.astype(np.float32),
        "objects": array.astype(object),
    }
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "text":
        path.write_text("nonsense")
    else:
        np.save(path, changed[damage])
    message = refused(lambda: masks_of(SliceStore(tmp_path))["c"], path)
    assert ("belong there" in message) == (damage in ("slice", "side", "channel", "type"))


@pytest.mark.parametrize("folder", ["images", "valid"])
def test_an_array_that_is_missing(make_store: MakeStore, tmp_path: Path, folder: str) -> None:
    path = make_store(tmp_path) / folder / "c.npy"
    path.unlink()
    assert "lacks this file" in refused(lambda: SliceStore(tmp_path), path)


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ([], "`folds` is no list of folds"),
        ({"folds": {}}, "`folds` is no list of folds"),
        ({"folds": []}, "`folds` is no list of folds"),
        ({"folds": [[]]}, "fold 0 is no mapping"),
        ({"folds": [{"train": "ab", "val": [], "test": []}]}, "`train` of fold 0 is no list"),
        ({"folds": [{"train": [["a"]], "val": [], "test": []}]}, "`train` of fold 0 is no list"),
    ],
)
def test_splits(make_store: MakeStore, tmp_path: Path, splits: Any, problem: str) -> None:
    store = SliceStore(make_store(tmp_path))
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(splits))
    assert problem in refused(lambda: store.split(0), path)


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = root / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))
    return path
