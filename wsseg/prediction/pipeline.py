"""Keeps reading, computing and writing going at the same time, one case ahead and one behind.

That is for accelerators. On a CPU the forward pass takes every core and waits for its slowest
thread, so that a thread beside it costs more than its own work: a case of 240 x 240 x 155 x 4 took
3.5 s with reading and writing beside the forward pass and 2.9 s with one after the other (two
cores, `make bench`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Source = TypeVar("Source")
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Source], Item], sources: Iterable[Source], beside: bool = True
) -> Iterator[Item]:
    """Read every source in order, the next one in a thread while the last is in use.

    Args:
        read: Reads one source.
        sources: What to read.
        beside: False to read without a thread, each source when it is asked for.

    Yields:
        What was read; an error of ``read`` is raised where its item would have come.

    Example:
        >>> list(read_ahead(str.upper, ["ann", "ben"]))
        ['ANN', 'BEN']
    """
    if not beside:
        yield from map(read, sources)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for source in sources:
            coming = pool.submit(read, source)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


def write_behind(
    write: Callable[[Item], Result], items: Iterable[Item], beside: bool = True
) -> Iterator[Result]:
    """Write every item in a thread while the next one is made.

    No more than one item waits, so memory does not grow. When making an item fails, the one
    before it is still written.

    Args:
        write: Writes one item.
        items: What to write, made as it is asked for.
        beside: False to write without a thread, before the next item is made.

    Yields:
        What ``write`` returned, in order.
    """
    if not beside:
        yield from map(write, items)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(write, item)
        if waiting is not None:
            yield waiting.result()
