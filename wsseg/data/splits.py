"""Which cases train, validate and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wsseg.utils.errors import InputError

Fold = dict[str, list[str]]
SPLITS = ("train", "val", "test")


def make_folds(
    cases: Sequence[str],
    folds: int,
    val_fraction: float,
    seed: int,
    patients: Mapping[str, str] | None = None,
) -> list[Fold]:
    """Deal cases into folds; each case is in the test split of exactly one.

    Cases of one patient are dealt as one, so that no patient is in two splits.

    Args:
        cases: Names of the cases.
        folds: Number of folds, at least 2.
        val_fraction: Share of the patients not tested that go to validation, rounded down, so that
            few cases all train.
        seed: Seed of the dealing.
        patients: Patient of each case that is not the only one of its patient.

    Returns:
        For each fold, names by split, sorted.

    Raises:
        InputError: There are fewer patients than folds.

    Example:
        >>> patients = {"cy_1": "cy", "cy_2": "cy"}
        >>> folds = make_folds(["ann", "ben", "cy_1", "cy_2"], 3, 0.0, 0, patients)
        >>> sorted(tuple(fold["test"]) for fold in folds)
        [('ann',), ('ben',), ('cy_1', 'cy_2')]
    """
    groups: dict[str, list[str]] = {}
    for case in sorted(cases):
        groups.setdefault((patients or {}).get(case, case), []).append(case)
    dealt = {group[0]: group for group in groups.values()}  # under the name of the first case
    what = "cases" if len(dealt) == len(cases) else "patients"
    if len(dealt) < 2:
        raise InputError(
            f"--folds {folds}: there is only one {what[:-1]}, but training and test {what} must "
            f"differ; add {what}"
        )
    if folds > len(dealt):
        raise InputError(
            f"--folds {folds}: there are only {len(dealt)} {what}; "
            f"give --folds {len(dealt)} or less, or more {what}"
        )
    order = np.random.default_rng(seed).permutation(list(dealt)).tolist()
    made = (_fold(order, number, folds, val_fraction, seed) for number in range(folds))
    return [
        {
            split: sorted(case for name in names for case in dealt[name])
            for split, names in fold.items()
        }
        for fold in made
    ]


def check_disjoint(
    where: str, number: int, fold: Fold, patients: Mapping[str, str] | None = None
) -> None:
    """Refuse a case, or a patient, in two splits of a fold.

    Args:
        where: Where the fold is written, for the message.
        number: Number of the fold.
        fold: Names by split.
        patients: Of cases that share one, by name of the case.

    Raises:
        InputError: A case is in two splits, or twice in one, or a patient is in two.
    """
    seen: set[str] = set()
    place: dict[str, str] = {}
    for split in SPLITS:
        for case in fold[split]:
            if case in seen:
                raise InputError(
                    f"{where}: fold {number} names case {case} twice; each case belongs in one "
                    "split"
                )
            seen.add(case)
            patient = (patients or {}).get(case, "")
            if patient and place.setdefault(patient, split) != split:
                raise InputError(
                    f"{where}: fold {number} has cases of patient {patient} in {place[patient]} "
                    f"and in {split}; put {case} where the others are"
                )


def check_tagged(
    where: str,
    folds: Sequence[Fold],
    tags: Mapping[str, Sequence[Sequence[float | None]]],
    classes: Sequence[str],
) -> None:
    """Refuse a fold that cannot be trained.

    Args:
        where: Where the folds belong, for the message.
        folds: Names by split.
        tags: For each case a multi-hot row per slice; None where a tag is unknown.
        classes: Names of the classes.

    Raises:
        InputError: The training slices of a fold are all tagged, or none is.
    """
    for number, fold in enumerate(folds):
        listed = [row for case in fold["train"] for row in tags[case]]
        rows = np.array(listed, float).reshape(-1, len(classes))
        for column, name in zip(rows.T, classes, strict=True):
            tagged, untagged = (column > 0.5).any(), (column <= 0.5).any()
            if not (tagged and untagged):
                kind = "untagged" if tagged else "tagged"
                raise InputError(
                    f"{where}: no training slice of fold {number} is {kind} `{name}`; add cases, "
                    "or choose another --seed, --folds, --slice_step or --min_anatomy"
                )


def _fold(order: Sequence[str], number: int, folds: int, val_fraction: float, seed: int) -> Fold:
    test = order[number::folds]
    rest = [case for case in order if case not in set(test)]
    rest = np.random.default_rng((seed, number)).permutation(rest).tolist()
    count = int(len(rest) * val_fraction + 1e-9)  # 50 x 0.58 is a little less than 29 in binary
    return {"train": rest[count:], "val": rest[:count], "test": test}
