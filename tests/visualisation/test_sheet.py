"""Contact sheets: every picture is there, whole; files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsseg.visualisation.colours import PREDICTION
from wsseg.visualisation.sheet import Legend, contact_sheet, save_png


def flat(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    """A picture of one colour that occurs nowhere else."""
    return np.full((height, width, 3), (value, 255 - value, value), np.uint8)


def test_every_picture_is_on_the_sheet_whole() -> None:
    rows = [[flat(10), flat(20, 25, 40), flat(30)], [flat(40)]]
    sheet = contact_sheet(
        rows,
        ["one", "two", "three"],
        ["case_0\nslice 3", "case_1"],
        title="A title",
        legend=Legend([("prediction", PREDICTION)], "class activation"),
    )
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3
    for picture in (picture for row in rows for picture in row):
        found = (sheet == picture[0, 0]).all(axis=-1)
        assert found.sum() == picture.shape[0] * picture.shape[1]
    assert ((sheet == PREDICTION).all(axis=-1)).sum() > 50


def test_titles_fit_on_a_small_sheet() -> None:
    wide = contact_sheet([[flat(10)]], title="A title that is much wider than its one picture")
    assert wide.shape[1] > 300


def test_a_sheet_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([[], []])


def test_png_is_written_whole(tmp_path: Path) -> None:
    path = save_png(flat(7), tmp_path / "new" / "picture.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), flat(7))
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_failed_png_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_png(np.zeros((2, 2, 7), np.uint8), tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())
