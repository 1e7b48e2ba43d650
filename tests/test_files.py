"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsseg.files import replacing


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
