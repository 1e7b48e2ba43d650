"""Writing files: where it is possible, and whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsseg.utils.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary file beside a path, which takes the path's place when the block ends.

    If the block fails, the temporary file is deleted and an earlier file at the path stays. The
    folder is made if it is missing.

    Args:
        path: File to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all; see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Hold a folder against other processes until the block, or this process, ends.

    Args:
        folder: A folder that exists; it may be renamed meanwhile.

    Yields:
        Whether it is held; not if another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = True
    except BlockingIOError:
        held = False
    except OSError:  # not all file systems have locks
        held = True
    try:
        yield held
    finally:
        os.close(descriptor)


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Args:
        folder: The folder; it need not exist yet.

    Raises:
        InputError: It, or what it would be made in, is a file or is not writable.
    """
    place = folder.resolve()
    while not os.path.exists(place):  # noqa: PTH110 (which answers where a parent may not be read)
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{place}: is a file; name a folder other than {folder} to write to")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{place}: is not writable; name a folder other than {folder}")
