"""Labels of predicted masks are the data set's own, whatever the order of its classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.data.labels import LARGEST_LABEL, label_map, mask_labels

CLASSES = st.dictionaries(
    st.text("abcdefg", min_size=1, max_size=2),
    st.sets(st.integers(-1, 6), max_size=5).map(lambda labels: tuple(sorted(labels))),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(
    ("classes", "numbers"),
    [
        ({"tumour": (1, 2, 4)}, {"tumour": 1}),
        ({"cyst": (3,), "mass": (1,)}, {"cyst": 3, "mass": 1}),
        (
            {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)},
            {"whole": 2, "core": 1, "enhancing": 4},
        ),
        (
            {"whole": (1, 2), "core": (1,), "oedema": (2,)},
            {"core": 1, "oedema": 2, "whole": 3},
        ),
        ({"left": (1, 2), "right": (2, 3)}, {"left": 1, "right": 3}),
        ({"lesion": (1,), "finding": (1,)}, {"finding": 1, "lesion": 2}),
        ({"nuclei": tuple(range(1, 400))}, {"nuclei": 1}),
        ({"odd": (-3, 0, 99_999)}, {"odd": 1}),
    ],
)
def test_the_numbers_are_those_that_users_expect(
    classes: dict[str, tuple[int, ...]], numbers: dict[str, int]
) -> None:
    assert mask_labels(classes) == numbers


@settings(max_examples=300, deadline=None)
@given(CLASSES, st.randoms())
def test_no_order_changes_a_number(classes: dict[str, tuple[int, ...]], random: object) -> None:
    names = list(classes)
    random.shuffle(names)  # type: ignore[attr-defined]
    shuffled = {name: classes[name][::-1] for name in names}
    numbers = mask_labels(shuffled)
    assert numbers == mask_labels(classes)
    assert list(numbers) == names
    assert len(set(numbers.values())) == len(names)
    assert all(0 < number <= LARGEST_LABEL for number in numbers.values())
    for name, labels in classes.items():
        others = {n for other, each in classes.items() if other != name for n in each}
        alone = {n for n in labels if n > 0} - others
        if alone:
            assert numbers[name] == min(alone)
        if numbers[name] not in labels:  # no number that means something else
            assert all(numbers[name] not in each for each in classes.values())


@settings(max_examples=100, deadline=None)
@given(CLASSES, st.randoms(), st.integers(0, 99))
def test_no_order_changes_a_map(
    classes: dict[str, tuple[int, ...]], random: object, seed: int
) -> None:
    masks = np.random.default_rng(seed).random((len(classes), 2, 3, 1)) > 0.4
    order = list(range(len(classes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    names = list(classes)
    shuffled = {names[n]: classes[names[n]] for n in order}
    found = label_map(masks, classes)
    np.testing.assert_array_equal(label_map(masks[order], shuffled), found)
    np.testing.assert_array_equal(found > 0, masks.any(axis=0))


def test_nested_classes_keep_the_innermost() -> None:
    classes = {"enhancing": (4,), "whole": (1, 2, 4), "core": (1, 4)}
    masks = np.zeros((3, 4, 1, 1), bool)
    masks[0, 3:], masks[1, 1:], masks[2, 2:] = True, True, True
    found = label_map(masks, classes)
    assert found.ravel().tolist() == [0, 2, 1, 4]
    assert found.dtype == np.uint8


def test_of_others_that_overlap_the_higher_number_shows() -> None:
    masks = np.array([[[[True, True]]], [[[False, True]]]])
    assert label_map(masks, {"oedema": (2,), "core": (1, 4)}).tolist() == [[[2, 2]]]
    assert label_map(masks, {"oedema": (2,), "core": (3, 4)}).tolist() == [[[2, 3]]]


def test_large_labels_take_16_bits() -> None:
    found = label_map(np.ones((1, 1, 1, 1), bool), {"cell": (300,)})
    assert found.dtype == np.uint16
    assert found.item() == 300
