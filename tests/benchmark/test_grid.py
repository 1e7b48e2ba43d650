"""The whole benchmark, with stubbed training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.benchmark.conftest import Child
from wsseg.benchmark import benchmark
from wsseg.benchmark.grid import make_data
from wsseg.cli import main
from wsseg.errors import InputError
from wsseg.precision import native_precision


def test_writes_tables_and_pictures(
    config: Path, child: Child, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = benchmark(config)
    assert [call[0] for call in child.calls] == ["fit", "test"] * 2
    assert f"--trainer.default_root_dir={out / 'crs' / 'fold0-seed1'}" in child.calls[2]
    expected = {"--data.fold=0", "--seed_everything=1", "--model.lr=0.1", "--trainer.devices=1"}
    assert expected | {f"--trainer.precision={native_precision()}"} <= set(child.calls[2])
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    assert {row["method"] for row in rows} == {"crs", "clustering", "threshold"}
    assert all(float(row["seconds"]) >= 0 for row in rows)
    for name in ("dice.png", "overview.png"):
        assert np.asarray(Image.open(out / name)).std() > 5
    table = (out / "table.md").read_text()
    assert "| threshold | 0." in table
    printed = capsys.readouterr().out
    assert "wsseg predict --ckpt_path" in printed
    assert "2 held-out cases, 2 seeds" in printed


def test_goes_on_where_it_stopped(config: Path, child: Child) -> None:
    benchmark(config)
    count = len(child.calls)
    (config.parent / "out" / "crs" / "fold0-seed1" / "metrics.json").unlink()
    benchmark(config)
    assert len(child.calls) == count + 2


def test_reports_what_is_finished_and_runs_nothing(config: Path, child: Child) -> None:
    with pytest.raises(InputError, match="out: holds no finished run; leave out --report_only"):
        benchmark(config, report_only=True)
    benchmark(config)
    count, out = len(child.calls), config.parent / "out"
    (out / "crs" / "fold0-seed1" / "metrics.json").unlink()
    benchmark(config, report_only=True)
    assert len(child.calls) == count
    assert "| crs * |" in (out / "table.md").read_text()


def test_a_failed_run_does_not_stop_the_others(
    config: Path, child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    child.fail = lambda arguments: "--seed_everything=0" in arguments
    with pytest.raises(SystemExit) as stopped:
        benchmark(config)
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "1 of 6 runs failed" in printed
    assert "error: out of luck" in printed
    assert (config.parent / "out" / "crs" / "fold0-seed1" / "metrics.json").is_file()
    assert (config.parent / "out" / "table.md").is_file()


def test_refuses_results_of_other_settings(config: Path, child: Child) -> None:
    benchmark(config)
    plain = yaml.safe_load(config.read_text())
    plain["methods"]["crs"]["overrides"] = ["--model.lr=0.2"]
    config.write_text(yaml.safe_dump(plain))
    with pytest.raises(InputError, match="other settings"):
        benchmark(config)


def test_data_is_made_only_if_absent(tmp_path: Path, config: Path) -> None:
    make_data({"out": "never"}, {"out": "never"}, config.parent / "store")
    with pytest.raises(InputError, match="no slice store"):
        make_data(None, None, tmp_path / "absent")
    with pytest.raises(InputError, match="phantom: unknown option 'colour'"):
        make_data({"out": str(tmp_path / "p"), "colour": 1}, None, tmp_path / "absent")


def test_the_command_takes_the_file(config: Path, child: Child) -> None:
    assert main(["benchmark", str(config)]) == 0
    assert (config.parent / "out" / "table.md").is_file()
