"""Benchmarks that share a grid do not get in each other's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder against other processes; a process that dies lets go of what it held.

    Args:
        folder: The folder; it need not exist yet.
        wait: Wait until nobody else holds it.

    Yields:
        Whether it is held; always if it was waited for.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        held.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()
