"""Shortcuts that were planted are found; chance, and the finding itself, is not called one."""

from __future__ import annotations

import numpy as np
import pytest

from wsseg.inspection.shortcuts import compare, find_shortcuts, indicators

TAGGED = np.arange(40) < 20
PATIENTS = [str(n) for n in range(40)]


def border(outer: np.ndarray, inner: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "border mean": outer,
        "border spread": np.zeros(40),
        "centre mean": inner,
        "centre spread": np.zeros(40),
    }


@pytest.mark.parametrize("seed", range(10))
def test_chance_is_no_shortcut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = {str(n): rng.normal(size=40) for n in range(10)}
    features |= border(rng.normal(size=40), rng.normal(size=40))
    assert find_shortcuts(features, TAGGED, PATIENTS, 12) == []


def test_what_tells_tagged_images_is_found_strongest_first() -> None:
    rng = np.random.default_rng(0)
    features = {"height": rng.normal(size=40) + 2 * TAGGED, "width": 500.0 - 100 * TAGGED}
    found = find_shortcuts(features, TAGGED, PATIENTS, 2)
    assert [each.name for each in found] == ["width", "height"]
    assert (found[0].share, found[0].strength) == (0, 1)
    assert (found[0].tagged, found[0].untagged) == (400, 500)


def test_a_border_counts_if_the_centre_says_less() -> None:
    dark, noise = 10.0 * TAGGED, np.random.default_rng(0).normal(size=40)
    assert [e.name for e in find_shortcuts(border(dark, noise), TAGGED, PATIENTS, 2)] == [
        "border mean"
    ]
    both = 2.0 * TAGGED + noise  # as lesions make it
    assert find_shortcuts(border(both, both), TAGGED, PATIENTS, 2) == []
    assert [e.name for e in find_shortcuts(border(dark, dark), TAGGED, PATIENTS, 2)] == [
        "border mean"
    ]


def test_many_images_of_few_patients_prove_nothing() -> None:
    few = [str(n % 4) for n in range(40)]
    assert compare("width", 1.0 * TAGGED, TAGGED, few) is None
    assert find_shortcuts({"width": 1.0 * TAGGED}, TAGGED, few, 1) == []


def test_types_are_properties() -> None:
    assert [name for name, _ in indicators("file", ["png"] * 3)] == []
    assert [name for name, _ in indicators("file", ["a", "b", "c", "a"])] == ["file b", "file c"]
