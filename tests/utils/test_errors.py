"""What goes wrong together is told together."""

from __future__ import annotations

import pytest

from wsseg.utils.errors import MOST, InputError, attempt, results


def half(number: int) -> int:
    if number % 2:
        raise InputError(f"{number}: is odd; give another")
    return number // 2


def test_results_come_back_if_all_is_well() -> None:
    assert results(attempt(half, number) for number in (2, 4)) == [1, 2]


def test_every_fault_has_a_line() -> None:
    with pytest.raises(InputError, match=r"^1: is odd; give another\n3: is odd; give another$"):
        results(attempt(half, number) for number in (1, 2, 3))


def test_many_faults_are_counted() -> None:
    with pytest.raises(
        InputError, match=r"\nand 300 more like these; .* run the command again$"
    ) as caught:
        results(attempt(half, 2 * number + 1) for number in range(MOST + 300))
    assert str(caught.value).count("\n") == MOST
