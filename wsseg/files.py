"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
