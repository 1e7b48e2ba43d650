"""Averages over seeds first, then over cases."""

from __future__ import annotations

from wsseg.benchmark.runs import run_command
from wsseg.benchmark.table import INCOMPLETE, Result, case_means, describe, incomplete, table_rows
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


def test_a_method_with_missing_runs_is_marked() -> None:
    other = [row._replace(method="cam") for row in ROWS if row.seed == 0]
    assert incomplete(ROWS) == set()
    assert incomplete([*ROWS, *other]) == {"cam"}
    assert [row[0] for row in table_rows([*ROWS, *other], "tumour")] == ["crs", "cam *"]
    assert INCOMPLETE in describe([*ROWS, *other])


def test_a_failing_command_returns_its_last_lines() -> None:
    problem = run_command(["no-such-command"])
    assert problem is not None
    assert "no-such-command" in problem
