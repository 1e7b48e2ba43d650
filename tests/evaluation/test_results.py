"""Mean, median and interval over cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsseg.evaluation.case_metric import CaseRow
from wsseg.evaluation.metrics import Scores
from wsseg.evaluation.results import (
    never_predicted,
    read_cases,
    summarise,
    summary_table,
    write_results,
)
from wsseg.utils.errors import InputError


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_interval_lies_within_the_values(values: list[float]) -> None:
    got = summarise(values)
    low, high = got.ci95
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert got == summarise(values)


@pytest.mark.parametrize("count", [2, 7, 60])
def test_interval_is_that_of_scipy(count: int) -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(count).random(count)
    draw = {"n_resamples": 2000, "method": "percentile", "rng": np.random.default_rng(4)}
    expected = bootstrap((values,), np.mean, **draw).confidence_interval
    assert summarise(list(values), seed=4).ci95 == pytest.approx(tuple(expected), abs=1e-12)


def test_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    got = summarise(list(values), seed=3)
    assert np.subtract(*got.ci95[::-1]) == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_refuses_no_case() -> None:
    with pytest.raises(ValueError, match="no case"):
        summarise([])


def row(case: str, dice: float, *, drawn: bool, predicted: bool) -> CaseRow:
    return CaseRow(case, "cyst", Scores(dice, 0, 0, dice, dice), drawn, predicted)


def test_cases_without_the_class_do_not_praise_a_model_that_predicts_nothing(
    tmp_path: Path,
) -> None:
    rows = [row("a", 0, drawn=True, predicted=False)]
    rows += [row(case, 1, drawn=False, predicted=False) for case in "bcd"]
    table = json.loads(write_results(rows, tmp_path, "px").read_text())["cyst"]
    assert table["dice"]["mean"] == 0.75
    assert table["drawn"] == {"cases": 1, "dice": 0}
    assert table["not_drawn"] == {"cases": 3, "nothing_predicted": 1}
    assert [each["drawn"] for each in read_cases(tmp_path)] == ["1", "0", "0", "0"]
    assert {each["unit"] for each in read_cases(tmp_path)} == {"px"}
    assert never_predicted(rows) == [
        "`cyst`: nothing was predicted in the one case that has it; "
        "a mean Dice of 0.75 comes only from the cases without it"
    ]


def test_one_sort_of_cases_may_be_missing() -> None:
    every = summary_table([row("a", 0.5, drawn=True, predicted=True)])["cyst"]
    assert every["drawn"] == {"cases": 1, "dice": 0.5}
    assert every["not_drawn"] == {"cases": 0, "nothing_predicted": None}
    none = [row("a", 0, drawn=False, predicted=True), row("b", 1, drawn=False, predicted=False)]
    assert summary_table(none)["cyst"]["drawn"] == {"cases": 0, "dice": None}
    assert summary_table(none)["cyst"]["not_drawn"] == {"cases": 2, "nothing_predicted": 0.5}
    assert never_predicted(none) == []


def test_a_class_that_is_predicted_in_wrong_places_is_not_warned_of() -> None:
    rows = [row("a", 0, drawn=True, predicted=True), row("b", 0, drawn=True, predicted=False)]
    assert never_predicted(rows) == []
    assert never_predicted(rows[1:]) == [
        "`cyst`: nothing was predicted in the one case that has it"
    ]
    assert never_predicted([*rows[1:], *rows[1:]]) == [
        "`cyst`: nothing was predicted in any of the 2 cases that have it"
    ]


def test_scores_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "per_case.csv").write_text("case,class,dice,hd95_mm\na,cyst,1,0\n")
    with pytest.raises(InputError, match="earlier version of wsseg; run `wsseg test` again"):
        read_cases(tmp_path)
