"""Averages over seeds first, then over cases."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from wsseg.benchmark.config import Method
from wsseg.benchmark.runs import Run
from wsseg.benchmark.table import (
    COLUMNS,
    HEADINGS,
    INCOMPLETE,
    Result,
    case_means,
    collect,
    describe,
    headings,
    incomplete,
    print_table,
    read_csv,
    table_rows,
    write_csv,
    write_markdown,
)
from wsseg.evaluation.case_metric import CaseRow
from wsseg.evaluation.metrics import METRICS, Scores
from wsseg.evaluation.results import write_results


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


def test_the_precision_of_pixels_is_averaged_over_runs(tmp_path: Path) -> None:
    rows = [row._replace(pxap=0.25 + row.seed / 2) for row in ROWS]
    rows += [row._replace(method="everything") for row in ROWS]
    texts = table_rows(read_csv(write_csv(rows, tmp_path / "results.csv")), "tumour")
    titles = headings(rows, "tumour", HEADINGS)
    assert [row[titles.index("PxAP")] for row in texts] == ["0.500", "-"]


def test_a_method_with_missing_runs_is_marked() -> None:
    other = [row._replace(method="cam") for row in ROWS if row.seed == 0]
    assert incomplete(ROWS) == set()
    assert incomplete([*ROWS, *other]) == {"cam"}
    assert [row[0] for row in table_rows([*ROWS, *other], "tumour")] == ["crs", "cam *"]
    assert INCOMPLETE in describe([*ROWS, *other])


def test_where_cases_lack_the_class_the_table_has_the_dice_of_the_others(tmp_path: Path) -> None:
    rows = [row._replace(drawn=row.case == "a") for row in ROWS]
    (row,) = table_rows(rows, "tumour")
    assert row[:3] == ("crs", "0.600 [0.300, 0.900]", "0.300")
    assert len(headings(rows, "tumour", HEADINGS)) == len(row)
    assert (
        "| Dice [95 % CI] | if drawn |" in write_markdown(rows, tmp_path / "table.md").read_text()
    )
    (row,) = table_rows([row._replace(drawn=False) for row in ROWS], "tumour")
    assert row[2] == "-"


def test_tables_of_classes_that_every_case_has_stay_as_they_were() -> None:
    every = [row._replace(drawn=True) for row in ROWS]
    assert table_rows(every, "tumour") == table_rows(ROWS, "tumour")
    unknown = [ROWS[0], *(row._replace(drawn=row.case == "a") for row in ROWS[1:])]
    assert table_rows(unknown, "tumour") == table_rows(ROWS, "tumour")


def test_a_run_says_which_cases_have_the_class_and_the_unit_of_distances(tmp_path: Path) -> None:
    run = Run(Method("crs"), fold=0, seed=0, store=tmp_path, folder=tmp_path)
    scores = Scores(1, 0, 0, 1, 1)
    write_results([CaseRow("a", "tumour", scores, drawn=False, predicted=False)], tmp_path, "px")
    assert [(row.drawn, row.unit) for row in collect([run])] == [(False, "px")]
    assert "| HD95 px |" in write_markdown(collect([run]), tmp_path / "table.md").read_text()


def test_the_widest_table_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table([row._replace(method="crs_no_asymmetry", drawn=row.case == "a") for row in ROWS])
    printed = capsys.readouterr().out
    assert "crs_no_asymmetry 0.600 [0.300, 0.900]    0.300" in printed
    assert "…" not in printed
