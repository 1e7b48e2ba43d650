"""Work on many cases at once, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

from wsseg.utils.errors import InputError, attempt, results
from wsseg.utils.system import end_with_parent, keep_freed_memory

THREADS = "OMP_NUM_THREADS"
Job = TypeVar("Job")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Applies a function to many things, in order."""

    def __call__(
        self, title: str, function: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> list[Result]:
        """Return the result for each job, showing progress under a title.

        Raises:
            InputError: Jobs raised it; the others were done all the same.
        """


@contextmanager
def mapper(workers: int | None, jobs: int) -> Iterator[Mapper]:
    """Provide a function that maps over cases in several processes.

    With one worker, all is done in this process. Input that cannot be used stops no other case:
    all of it is named together at the end. At any other error, what has not begun is dropped.

    Args:
        workers: Number of processes; None for one per processor core.
        jobs: Number of cases; more processes than that are not started.
    """
    count = min(workers or len(os.sched_getaffinity(0)), jobs)
    if count <= 1:
        yield lambda title, function, items: _tracked(
            title, map(partial(attempt, function), items), len(items)
        )
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(count, context, _begin, (os.getpid(),)) as pool:
        try:
            yield lambda title, function, items: _tracked(
                title, pool.map(partial(attempt, function), items), len(items)
            )
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let matrix products of the processes begun inside use one thread, if none said otherwise.

    There is a process per core already; more threads only wait for each other.
    """
    if THREADS in os.environ:
        yield
        return
    os.environ[THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[THREADS]


def _begin(parent: int) -> None:
    # An interrupt is the business of the main process, which lets begun cases end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    keep_freed_memory()


def _tracked(title: str, outcomes: Iterable[Result | InputError], total: int) -> list[Result]:
    from rich.console import Console
    from rich.progress import track

    return results(track(outcomes, title, total=total, console=Console(stderr=True)))
