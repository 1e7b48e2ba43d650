"""The table of a run, which is carried on when the run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsseg.tracking.run_logger import RunLogger, read_rows


def log(folder: Path, steps: range, **more: Any) -> list[dict[str, Any]]:
    logger = RunLogger(str(folder), **more)
    for step in steps:
        logger.log_metrics({"loss": step / 2}, step)
    logger.save()
    return read_rows(folder / "logs" / "metrics.csv", 1000)


def test_logs_are_carried_on_from_the_checkpoints_step(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    rows = log(tmp_path, range(4, 8), keep_until=4)
    assert [int(row["step"]) for row in rows] == list(range(8))


def test_a_run_from_the_start_begins_a_new_log(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    assert len(log(tmp_path, range(2))) == 2


def test_scoring_logs_beside_the_training(tmp_path: Path) -> None:
    log(tmp_path, range(6))
    assert len(log(tmp_path, range(1), version="test")) == 6
    assert (tmp_path / "logs" / "test" / "metrics.csv").is_file()
