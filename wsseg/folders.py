"""Whether a folder can be written to, asked before work that would be lost."""

from __future__ import annotations

import os
from pathlib import Path

from wsseg.errors import InputError


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Args:
        folder: The folder; it need not exist yet.

    Raises:
        InputError: It, or what it would be made in, is a file or may not be written to.
    """
    place = folder.resolve()
    while not os.path.exists(place):  # noqa: PTH110 (which answers where a parent may not be read)
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{place}: is a file; name another folder than {folder} to write to")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{place}: may not be written to; name another folder than {folder}")
