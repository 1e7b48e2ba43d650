"""Writing files whole or not at all, space for them, and locking folders."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wsseg.utils.errors import NO_SPACE, InputError

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)  # no locks on this file system (filelock knows ENOSYS)
NO_FILE = (errno.EACCES, errno.EPERM, errno.EROFS)  # the file of the lock cannot be made
FULL = 2**16  # bytes: where fewer are free, that is why a file could not be written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary file beside a path, which takes the path's place when the block ends.

    If the block fails, the temporary file is deleted and an earlier file at the path stays. The
    folder is made if it is missing.

    Args:
        path: File to write.

    Example:
        >>> path = Path(getfixture("tmp_path")) / "tables" / "dice.csv"
        >>> with replacing(path) as part:
        ...     _ = part.write_text("case,dice")
        ...     path.exists()
        False
        >>> path.read_text()
        'case,dice'
    """
    part = path.with_name(f".part-{path.name}")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file could not be written, which nobody does where a disk is full.

    The system does not name it, and libraries hide even the reason.

    Args:
        path: The file, or the folder, that the block writes.

    Raises:
        OSError: The block failed, and the disk is full; or a library said no more than that it
            could not write.

    Example:
        >>> with naming(Path("RUN/last.ckpt")):
        ...     raise OSError("8 requested and 0 written")
        Traceback (most recent call last):
        OSError: [Errno 5] cannot be written (8 requested and 0 written): 'RUN/last.ckpt'
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        known = isinstance(error, OSError) and error.errno is not None
        if not known and _free(path) < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if not isinstance(error, OSError):
            raise
        if not known:
            raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from error
        if error.errno in NO_SPACE:
            error.filename = str(path)  # instead of that of an unfinished file
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all; see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> Path:
    r"""Write a CSV file, whole or not at all.

    Args:
        path: File to write.
        header: Names of the columns.
        rows: Cells of each line.

    Example:
        >>> path = Path(getfixture("tmp_path")) / "dice.csv"
        >>> write_table(path, ["case", "dice"], [["a, b", 0.5]]).read_text()
        'case,dice\n"a, b",0.5\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return write_text(path, text.getvalue())


@contextmanager
def lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a folder against other processes until the block, or this process, ends.

    The lock is on a hidden file beside the folder, which says who holds it. A process that is
    killed leaves the file behind, but not the lock.

    Args:
        folder: The folder; it need not exist yet, and may be renamed meanwhile.
        wait: Wait until no other process holds the lock.

    Yields:
        Whether this process holds the lock; always true with ``wait``, and where the file system
        has no locks or the hidden file cannot be made.

    Example:
        >>> folder = Path(getfixture("tmp_path")) / "store"
        >>> with lock(folder) as first, lock(folder, wait=False) as second:
        ...     first, second
        (True, False)
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = _lock_file(folder)
    file = FileLock(path, mode=0o666)  # other users may lock it later
    held = made = True
    try:
        file.acquire(blocking=wait)
        with naming(path):
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    except Timeout:
        held = made = False
    except OSError as error:
        if error.errno not in NO_LOCKS + NO_FILE:
            raise
        made = error.errno in NO_LOCKS
    try:
        yield held
    finally:
        if made:
            path.unlink(missing_ok=True)  # a process that waits for the lock makes a new file
        file.release()


def lock_holder(folder: Path) -> str:
    """Return which process holds the lock on a folder, or has held it last.

    Args:
        folder: The folder, as it was given to :func:`lock`.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if text := _lock_file(folder).read_text():
            return text
    return "another process"


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Args:
        folder: The folder; it need not exist yet.

    Raises:
        InputError: The folder, or its first parent that exists, is a file or is not writable.
    """
    existing = _existing(folder)
    if not existing.is_dir():
        raise InputError(f"{existing}: is a file; name a folder other than {folder} to write to")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{existing}: is not writable; name a folder other than {folder}")


def check_space(folder: Path, size: float, what: str) -> None:
    """Refuse to begin what does not fit on a disk.

    Args:
        folder: Where it would be written; the folder need not exist yet.
        size: How many bytes it takes.
        what: What takes them, for the message.

    Raises:
        InputError: Fewer are free.

    Example:
        >>> check_space(Path(), 1e18, "the store")
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: .: the store takes about 1e+09 GB, and only ...
    """
    free = _free(folder)
    if size > free:
        raise InputError(
            f"{folder}: {what} takes about {size / 1e9:.3g} GB, and only {free / 1e9:.3g} GB are "
            "free there; free some space, or name a folder on another disk"
        )


def _free(path: Path) -> int:
    """Return how many bytes can be written where a path is, or will be."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """Return a path, or its first parent that exists."""
    existing = path.resolve()
    while not os.path.exists(existing):  # noqa: PTH110 (pathlib raises where it may not look)
        existing = existing.parent
    return existing


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name.lstrip('.')}.lock")
