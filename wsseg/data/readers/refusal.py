"""Turns whatever goes wrong when a file is read into one line that names it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsseg.utils.errors import InputError
from wsseg.utils.system import available_memory

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its lines do not name the file

LARGEST_PACKING = 1040  # no deflate stream expands further
COPIES = 2  # of a volume in memory: as its bytes, and as float32 or as one of its channels


@contextmanager
def refusing(
    path: Path, case: str, kind: str, advice: str = "copy it again or remove the case"
) -> Iterator[None]:
    """Raise what a reader finds wrong with a file as an InputError of one line.

    Args:
        path: The file or folder.
        case: Name of the case.
        kind: What the file should be, such as "NIfTI file".
        advice: What to do if it is none.

    Raises:
        InputError: The path does not exist, is an empty file, or the block failed.
    """
    what = f"{path} (case {case})"
    try:
        if not path.exists():
            raise InputError(f"{what}: does not exist; correct the path or add the file")
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{what}: is empty; copy it again")
        yield
        return
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{what}: takes more memory than there is; crop or resample it, or use a larger "
            "computer"
        ) from None
    except EOFError:
        problem = "is truncated"
    except Exception as error:  # readers raise many kinds for a broken file
        if isinstance(error, OSError) and error.strerror:  # said by the system, not by the reader
            raise InputError(
                f"{what}: cannot be read ({error.strerror}); check that you may read it"
            ) from None
        problem = f"is not a readable {kind} ({type(error).__name__}: {error})"
    raise InputError(f"{what}: {' '.join(problem.split())}; {advice}")


def check_memory(size: int) -> None:
    """Refuse an image of so many bytes if there is not enough memory to work with it.

    Raises:
        MemoryError: There is not.
    """
    if COPIES * size > available_memory():
        raise MemoryError
