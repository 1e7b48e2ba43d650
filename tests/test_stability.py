"""The measurement under `experiments/stability` fits the package; its results are not tested."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import pytest

from tests.data.conftest import write_store

SCRIPT = Path(__file__).parents[1] / "experiments" / "stability" / "measure.py"


def test_every_refresh_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_store(tmp_path / "store")
    module = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(module["run"].__globals__, "REFRESHES", 2)
    arguments = ["measure.py", str(store), str(tmp_path / "out"), "--seeds", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    module["main"]()
    with (tmp_path / "out" / "stability.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["refresh"]) for row in rows] == [("3", "1"), ("3", "2")]
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    assert (tmp_path / "out" / "stability.png").is_file()
