"""Limits of time and memory for code that is given malformed input."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Fail if a block takes more time of the processor."""

    def fail(*_: object) -> None:
        raise AssertionError(f"takes more than {seconds} s")

    former = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


@contextmanager
def no_more_memory_than(size: int) -> Iterator[None]:
    """Fail if a block raises the most memory that this process has ever held by more bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown <= size, f"takes {grown / 2**20:.0f} MB"
