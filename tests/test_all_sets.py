"""The table of all data sets under `experiments/results`."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from wsseg.benchmark.table import Result, write_csv
from wsseg.evaluation.metrics import METRICS

SCRIPT = Path(__file__).parents[1] / "experiments" / "results" / "all_sets.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def row(method: str, case: str, dice: float, drawn: bool | None, seed: int = 0) -> Result:
    scores = dict.fromkeys(METRICS, 1.0) | {"dice": dice}
    return Result(method, seed, 0, case, "lesion", scores, 1.0, drawn)


def write(folder: Path, rows: list[Result]) -> str:
    folder.mkdir(parents=True)
    write_csv(rows, folder / "results.csv")
    return str(folder)


def test_sets_become_columns(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [row("cam", "a", 0.2, True), row("cam", "a", 0.4, True, seed=1)]
    pictures += [row("cam", "b", 1, False), row("cam", "b", 0, False, seed=1)]
    pictures += [row("everything", "a", 0.1, True), row("everything", "b", 0, False)]
    scans = [row("crs", "c", 0.8, None), row("cam", "c", 0.5, None)]
    folders = [write(tmp_path / "skin" / "table", pictures), write(tmp_path / "brats", scans)]
    assert script["main"](folders) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| method | skin: lesion | brats: lesion |" in lines
    assert "| cam | 0.300 [0.300, 0.300] | 0.500 [0.500, 0.500] |" in lines
    assert "| everything | 0.100 [0.100, 0.100] * | - |" in lines  # one of two seeds
    assert "| crs | - | 0.800 [0.800, 0.800] |" in lines
    silence = lines[lines.index("| method | skin: lesion |") :]  # scans have no column here
    assert silence[2:] == ["| cam | 0.50 |", "| everything | 0.00 |"]


def test_what_cannot_be_read_is_named(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script["main"]([str(tmp_path / "none")]) == 2
    assert "none/results.csv: No such file" in capsys.readouterr().err
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    assert script["main"]([str(tmp_path)]) == 2
    assert "is not what a benchmark writes" in capsys.readouterr().err


def test_a_set_is_given_once(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "skin", [row("cam", "a", 0.2, True)])
    assert script["main"]([folder, folder]) == 2
    assert "two columns 'skin: lesion'" in capsys.readouterr().err


def test_reads_the_tables_that_are_shipped(script: dict[str, Any]) -> None:
    text = script["report"]([SCRIPT.parent / name for name in ("brats2018_demo", "phantom")])
    assert "| crs | 0.882 [0.829, 0.917] | 0.899 [0.872, 0.918] |" in text
