"""Where slices of a store lie in their case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsseg.evaluation.grids import read_grids
from wsseg.utils.errors import InputError


def write_manifest(root: Path, positions: list[list[int]], step: int) -> None:
    cases = [
        {"id": str(number), "spacing": [2.0 * step, 1.0, 1.5], "positions": each}
        for number, each in enumerate(positions)
    ]
    content = {"options": {"slice_step": step}, "cases": cases}
    (root / "manifest.json").write_text(json.dumps(content))


def test_dropped_slices_leave_gaps(tmp_path: Path) -> None:
    """The spacing is that of every third slice, however few of them are left."""
    write_manifest(tmp_path, [[7], [4, 7, 10], [4, 10], [3, 9, 18]], step=3)
    grids = read_grids(tmp_path)
    assert [grid.planes for grid in grids] == [(0,), (0, 1, 2), (0, 2), (0, 2, 5)]
    assert [grid.first_index for grid in grids] == [0, 1, 4, 6]
    assert {grid.spacing for grid in grids} == {(6.0, 1.0, 1.5)}


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: does not exist"):
        read_grids(tmp_path)
