"""Keeps reading, computing and writing going at the same time, one case ahead and one behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Source = TypeVar("Source")
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(read: Callable[[Source], Item], sources: Iterable[Source]) -> Iterator[Item]:
    """Read every source in order, the next one in a thread while the last is in use.

    Args:
        read: Reads one source.
        sources: What to read.

    Yields:
        What was read; an error of ``read`` is raised where its item would have come.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for source in sources:
            coming = pool.submit(read, source)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


def write_behind(write: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Write every item in a thread while the next one is made.

    No more than one item waits, so memory does not grow. When making an item fails, the one
    before it is still written.

    Args:
        write: Writes one item.
        items: What to write, made as it is asked for.

    Yields:
        What ``write`` returned, in order.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(write, item)
        if waiting is not None:
            yield waiting.result()
