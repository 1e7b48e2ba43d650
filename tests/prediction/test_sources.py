"""Which images of a folder `wsseg predict` takes as cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.readers.conftest import write_slice
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
