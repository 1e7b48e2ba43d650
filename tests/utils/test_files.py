"""Files are written whole or not at all; where none can be written is known before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable, replacing


def test_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.txt"
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("earlier")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("ha")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - no message
        fail()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_can_be_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a" / "b"):
        check_writable(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below", "file/below/it"])
def test_a_file_in_the_way(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file; name a folder other than"):
        check_writable(tmp_path / folder)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As told by the system; whoever runs this test may be allowed everything."""
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(InputError, match=": is not writable; name a folder other than"):
        check_writable(tmp_path / "a" / "b")
