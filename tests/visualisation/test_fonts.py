"""Names in any script are shown, or one warning says that they cannot be."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from wsseg.visualisation import fonts
from wsseg.visualisation.fonts import font_for


def test_letters_that_the_usual_font_lacks_come_from_another() -> None:
    usual, other = font_for("scan_01", 15), font_for("пациент Ωμέγα", 15)
    assert usual.getname() != other.getname()
    for letter in "пΩ":
        assert bytes(other.getmask(letter)) != bytes(other.getmask(fonts.NO_CHARACTER))


def test_what_no_font_has_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_files", list)
    for cached in (fonts._file_with, fonts._warn_once):
        cached.cache_clear()
    with pytest.warns(UserWarning, match="no installed font shows 患.*fonts-noto-cjk"):
        assert font_for("患者", 15).getname() == font_for("a", 15).getname()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        font_for("患", 12)
    fonts._file_with.cache_clear()


def test_a_damaged_font_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    assert not fonts._has(str(path), frozenset("a"))
