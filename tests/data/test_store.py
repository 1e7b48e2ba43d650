"""What a store knows of its cases, and how its arrays are opened."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsseg.data.store import SliceStore
from wsseg.data.store_files import ArrayFolder
from wsseg.utils.errors import InputError

MakeStore = Callable[..., Path]


def changed(root: Path, case: str, slice_step: int, **entry: Any) -> SliceStore:
    """The store with another entry of a case, of which every n-th slice was kept."""
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["options"] = {"slice_step": slice_step}
    for each in manifest["cases"]:
        places = [slice_step * number for number in each["positions"]]
        each.update(entry if each["id"] == case else {"positions": places})
    count = len(entry["positions"])
    next(each for each in manifest["cases"] if each["id"] == case)["slices"] = count
    for path in (root / "images" / f"{case}.npy", root / "valid" / f"{case}.npy"):
        np.save(path, np.load(path)[:count])
    (root / "manifest.json").write_text(json.dumps(manifest))
    return SliceStore(root)


@pytest.mark.parametrize(
    ("positions", "planes"),
    [([7], (0,)), ([4, 7, 10], (0, 1, 2)), ([4, 10], (0, 2)), ([3, 9, 18], (0, 2, 5))],
)
def test_dropped_slices_leave_gaps(
    make_store: MakeStore, tmp_path: Path, positions: list[int], planes: tuple[int, ...]
) -> None:
    """The spacing is that of every third slice, however few of them are left."""
    tags = [[1]] * len(positions)
    store = changed(
        make_store(tmp_path), "b", 3, positions=positions, tags=tags, spacing=[6.0, 1.0, 1.5]
    )
    case = store.cases["b"]
    assert case.planes == planes
    assert case.spacing == (6.0, 1.0, 1.5)
    assert (case.first_index, store.cases["c"].first_index) == (6, 6 + len(positions))
    slices = np.ones((len(positions), 2, 2), bool)
    volume = case.volume(slices, np.arange(len(positions)))
    assert np.flatnonzero(volume.any(axis=(1, 2))).tolist() == list(planes)
    assert len(volume) == planes[-1] + 1


def test_all_slices_were_kept_unless_the_manifest_says_otherwise(
    make_store: MakeStore, tmp_path: Path
) -> None:
    assert SliceStore(make_store(tmp_path)).cases["a"].planes == tuple(range(6))


def test_depth_counts_pixels_also_where_slices_were_left_out(
    make_store: MakeStore, tmp_path: Path
) -> None:
    positions = [10, 12, 14, 16, 18, 20]
    store = changed(make_store(tmp_path), "a", 2, positions=positions, spacing=[6.0, 1.5, 1.0])
    assert store.cases["a"].depth.diff().tolist() == [4.0] * 5  # 6 mm apart, pixels of 1.5 mm


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: does not exist"):
        SliceStore(tmp_path)


def open_files(folder: Path) -> set[str]:
    """Files of a folder that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if str(folder) in line}


def test_many_cases_do_not_exhaust_file_descriptors(make_store: MakeStore, tmp_path: Path) -> None:
    folder = ArrayFolder(make_store(tmp_path) / "images", most_open=2)
    for _ in range(2):
        assert [len(folder[case]) for case in "abcdefg"] == [6, 7, 8, 9, 10, 11, 12]
        assert len(open_files(tmp_path)) <= 2


def test_arrays_are_what_was_written_last(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path / "new")
    for size in (2, 3):
        folder.write("a", np.arange(size))
        assert folder["a"].tolist() == list(range(size))
    assert pickle.loads(pickle.dumps(folder))["a"].tolist() == [0, 1, 2]
    folder.write("b", np.arange(1))
    folder.keep_only({"b"})
    assert ("a" in folder, "b" in folder) == (False, True)
    folder.remove("b")
    with pytest.raises(InputError, match=r"b\.npy: the slice store lacks this file"):
        folder["b"]
