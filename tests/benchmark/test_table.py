"""Averages over seeds first, then over cases."""

from __future__ import annotations

import csv
from pathlib import Path

from wsseg.benchmark.table import (
    COLUMNS,
    INCOMPLETE,
    Result,
    case_means,
    describe,
    incomplete,
    table_rows,
    write_csv,
)
from wsseg.evaluation.metrics import METRICS


def result(seed: int, case: str, dice: float) -> Result:
    scores = dict.fromkeys(METRICS, 1.0) | {"dice": dice}
    return Result("crs", seed, 0, case, "tumour", scores, 10.0 * (seed + 1))


ROWS = [result(0, "a", 0.2), result(1, "a", 0.4), result(0, "b", 0.9), result(1, "b", 0.9)]


def test_seeds_are_averaged_within_cases() -> None:
    means = case_means(ROWS, "dice")["tumour", "crs"]
    assert [round(mean, 6) for mean in means] == [0.3, 0.9]


def test_row_of_text() -> None:
    (row,) = table_rows(ROWS, "tumour")
    assert row == ("crs", "0.600 [0.300, 0.900]", "1.0", "1.0", "1.000", "1.000", "15")


def test_the_file_has_every_figure_and_the_interval(tmp_path: Path) -> None:
    other = [row._replace(method="cam", scores=row.scores | {"dice": 0.5}) for row in ROWS]
    with write_csv([*ROWS, *other], tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["dice"]) for row in rows] == [0.2, 0.4, 0.9, 0.9] + 4 * [0.5]
    assert [float(row["case_dice"]) for row in rows[:4]] == [0.3, 0.3, 0.9, 0.9]
    names = ("method_dice", "method_ci95_low", "method_ci95_high")
    summaries = [tuple(float(row[name]) for name in names) for row in rows]
    assert set(summaries[:4]) == {(0.6, 0.3, 0.9)}  # over two cases, not four figures
    assert set(summaries[4:]) == {(0.5, 0.5, 0.5)}


def test_a_method_with_missing_runs_is_marked() -> None:
    other = [row._replace(method="cam") for row in ROWS if row.seed == 0]
    assert incomplete(ROWS) == set()
    assert incomplete([*ROWS, *other]) == {"cam"}
    assert [row[0] for row in table_rows([*ROWS, *other], "tumour")] == ["crs", "cam *"]
    assert INCOMPLETE in describe([*ROWS, *other])
