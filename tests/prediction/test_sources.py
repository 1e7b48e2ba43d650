"""Which images of a folder `wsseg predict` takes as cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.readers.conftest import write_slice
from wsseg.data.labels import SLICER_FILE
from wsseg.data.layouts import find_cases
from wsseg.data.spec import DataSpec
from wsseg.prediction.sources import find_raw_cases

__all__ = ["write_slice"]

SPEC = DataSpec(("image",), {"lesion": (1,)}, "axial", None, (32, 32))


def ids(source: Path) -> list[str]:
    cases, faults = find_raw_cases(source, None, SPEC)
    assert not faults
    return [case.id for case in cases]


def test_the_present_folder_is_a_series(
    tmp_path: Path, write_slice: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for height in (0.0, 2.0):
        write_slice(tmp_path / "one" / f"{height}", height)
    monkeypatch.chdir(tmp_path / "one")
    assert ids(Path()) == ids(tmp_path / "one") == ["one"]


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(root / name)


def test_drawn_masks_are_no_cases(tmp_path: Path) -> None:
    pictures(tmp_path, "a/images/17.png", "a/masks/17.png", "b/18.png", "b/18_mask.png")
    assert ids(tmp_path) == ["a/images/17", "b/18"]
    assert ids(tmp_path / "a" / "masks") == ["17"], "which may be asked for by name"
    pictures(tmp_path / "lone", "scan_roi.png")
    assert ids(tmp_path / "lone") == ["scan_roi"], "which is nobody's mask"


def test_predictions_are_no_cases(tmp_path: Path) -> None:
    pictures(tmp_path, "17.png", "out/masks/99.png", "out/other/18.png")
    assert ids(tmp_path) == ["17", "out/masks/99", "out/other/18"]
    (tmp_path / "out" / SLICER_FILE).touch()
    assert ids(tmp_path) == ["17", "out/other/18"]


def test_a_broken_file_beside_series_stops_no_other(
    tmp_path: Path, write_slice: Callable[..., Path]
) -> None:
    for series in ("1.1", "1.2"):
        for height in (0.0, 2.0):
            write_slice(tmp_path / "b" / f"{series}_{height}", height, SeriesInstanceUID=series)
    (tmp_path / "b" / "broken.dcm").write_text("text")
    pictures(tmp_path, "a/17.png")
    assert "a/17" in ids(tmp_path)
    assert len(ids(tmp_path)) == 4, "of which those that cannot be read fail by themselves"


@pytest.mark.parametrize("classes", [("x", "y"), ("normal", "tumour")])
def test_links_in_loops(tmp_path: Path, classes: tuple[str, str]) -> None:
    for name in classes:
        pictures(tmp_path, f"{name}/1.png")
        (tmp_path / name / "loop").symlink_to(tmp_path / name)
    assert ids(tmp_path) == [f"{name}/1" for name in classes]
    if "normal" in classes:
        assert len(find_cases("folders", tmp_path).cases) == 2
