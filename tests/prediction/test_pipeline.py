"""Reading ahead and writing behind: order, overlap, errors, bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from wsseg.prediction.pipeline import read_ahead, write_behind


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_order_is_kept(count: int, beside: bool) -> None:
    items = read_ahead(lambda n: n * 10, range(count), beside)
    assert list(write_behind(lambda n: n + 1, items, beside)) == [n * 10 + 1 for n in range(count)]


def test_the_next_is_read_while_the_last_is_used() -> None:
    started: list[int] = []
    second = threading.Event()

    def read(number: int) -> int:
        started.append(number)
        if number == 1:
            second.set()
        return number

    items = read_ahead(read, range(4))
    assert next(items) == 0
    assert second.wait(5)
    time.sleep(0.05)
    assert started == [0, 1], "one ahead, no more"
    assert list(items) == [1, 2, 3]


def test_on_a_cpu_nothing_runs_beside() -> None:
    threads: set[int] = set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        return number

    assert list(write_behind(work, read_ahead(work, range(3), False), False)) == [0, 1, 2]
    assert threads == {threading.get_ident()}


def test_read_errors_come_where_the_item_would() -> None:
    def read(number: int) -> int:
        if number == 2:
            raise ValueError("case 2")
        return number

    items = read_ahead(read, range(4))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="case 2"):
        next(items)


@pytest.mark.parametrize("beside", [True, False])
def test_what_was_made_before_an_error_is_written(beside: bool) -> None:
    written: list[int] = []

    def make() -> Iterator[int]:
        yield from (0, 1)
        raise ValueError("case 2")

    with pytest.raises(ValueError, match="case 2"):
        list(write_behind(written.append, make(), beside))
    assert written == [0, 1]


def test_write_errors_are_raised() -> None:
    def write(number: int) -> None:
        raise OSError(f"disk full at {number}")

    with pytest.raises(OSError, match="disk full at 0"):
        list(write_behind(write, iter(range(3))))
