"""Splits are by case, seeded, and fit to train on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.data.splits import SPLITS, check_disjoint, check_tagged, make_folds
from wsseg.utils.errors import InputError


@settings(max_examples=40, deadline=None)
@given(
    cases=st.integers(2, 40),
    folds=st.integers(2, 40),
    val_fraction=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
def test_each_case_is_tested_once(cases: int, folds: int, val_fraction: float, seed: int) -> None:
    names = [f"case_{n}" for n in range(cases)]
    if folds > cases:
        with pytest.raises(InputError, match="--folds"):
            make_folds(names, folds, val_fraction, seed)
        return
    made = make_folds(names, folds, val_fraction, seed)
    assert sorted(name for fold in made for name in fold["test"]) == sorted(names)
    for number, fold in enumerate(made):
        check_disjoint("splits", number, fold)
        assert sorted(name for split in SPLITS for name in fold[split]) == sorted(names)
        assert fold["train"]
        assert fold["test"]
    assert made == make_folds(names[::-1], folds, val_fraction, seed)


def test_seed_changes_the_splits() -> None:
    names = [f"case_{n}" for n in range(20)]
    assert make_folds(names, 5, 0.1, 0) != make_folds(names, 5, 0.1, 1)


def test_few_cases_all_train() -> None:
    assert all(not fold["val"] for fold in make_folds(list("abcdefg"), 7, 0.1, 0))


@pytest.mark.parametrize(("cases", "share", "count"), [(15, 0.3, 3), (75, 0.58, 29)])
def test_shares_that_binary_numbers_cannot_write_are_exact(
    cases: int, share: float, count: int
) -> None:
    fold = make_folds([f"case_{n}" for n in range(cases)], 3, share, 0)[0]
    assert len(fold["val"]) == count


def test_splits_of_patients_with_one_case_are_as_ever() -> None:
    """Tables were made with these."""
    folds = make_folds([f"case_{n}" for n in range(7)], 3, 0.3, 0)
    assert folds == [
        {
            "train": ["case_0", "case_3", "case_4"],
            "val": ["case_5"],
            "test": ["case_1", "case_2", "case_6"],
        },
        {
            "train": ["case_0", "case_1", "case_2", "case_6"],
            "val": ["case_3"],
            "test": ["case_4", "case_5"],
        },
        {
            "train": ["case_2", "case_4", "case_5", "case_6"],
            "val": ["case_1"],
            "test": ["case_0", "case_3"],
        },
    ]
    alone = {f"case_{n}": f"patient_{9 - n}" for n in range(7)}
    assert make_folds(list(alone), 3, 0.3, 0, alone) == folds


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(0, 99))
def test_no_patient_is_in_two_splits(numbers: list[int], seed: int) -> None:
    patients = {f"case_{n}": f"patient_{number}" for n, number in enumerate(numbers)}
    count = len(set(numbers))
    if count < 2:
        with pytest.raises(InputError, match="only one patient"):
            make_folds(list(patients), 2, 0.3, seed, patients)
        return
    for fold in make_folds(list(patients), 2, 0.3, seed, patients):
        assert sorted(name for split in SPLITS for name in fold[split]) == sorted(patients)
        seen = [{patients[name] for name in fold[split]} for split in SPLITS]
        assert sum(map(len, seen)) == count
        assert fold["train"]
        assert fold["test"]


def test_case_in_two_splits_is_refused() -> None:
    with pytest.raises(InputError, match="fold 3 names case b twice"):
        check_disjoint("splits.json", 3, {"train": ["a", "b"], "val": [], "test": ["b"]})


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_patient_in_two_splits_is_refused_and_twice_in_one_is_not(other: str) -> None:
    patients = {"a": "anna", "b": "anna"}
    fold: dict[str, list[str]] = {"train": ["a", "b"], "val": [], "test": ["c", "d"]}
    check_disjoint("splits.json", 0, fold, patients)
    check_disjoint("splits.json", 0, fold | {"train": ["a"], other: ["b"]})
    with pytest.raises(InputError, match=f"cases of patient anna in train and in {other}"):
        check_disjoint("splits.json", 0, fold | {"train": ["a"], other: ["b"]}, patients)


@pytest.mark.parametrize(("value", "word"), [(0, "is tagged"), (1, "is untagged")])
def test_fold_without_both_kinds_is_refused(value: int, word: str) -> None:
    folds = [{"train": ["a"], "val": [], "test": ["b"]}, {"train": ["b"], "val": [], "test": ["a"]}]
    tags = {"a": [[0], [1]], "b": [[value], [value]]}
    with pytest.raises(InputError, match=f"fold 1 {word} `tumour`"):
        check_tagged("store", folds, tags, ["tumour"])
