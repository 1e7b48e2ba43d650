"""Which ids cases may have: files of stores and predictions are named after them.

An id may have several parts, such as ``benign/17``: these make folders.
"""

from __future__ import annotations

from pathlib import Path

from wsseg.utils.errors import InputError

# Bytes. File systems allow 255, of which suffixes and the marks of unfinished files take some.
LONGEST_ID = 200


def check_id(source: Path, case: str) -> None:
    """Refuse the id of a case that the files of stores and predictions cannot be named after.

    Args:
        source: Where the case is listed, for the message.
        case: The id.

    Raises:
        InputError: It is empty or too long, or holds signs that no name of a file can have.
    """
    parts = case.split("/")  # folders of the store, and of predictions
    if not all(parts) or any(part.startswith(".") or set(part) & set("\\:") for part in parts):
        raise InputError(
            f"{source}: case id {case!r} cannot be used as a file name; rename the case"
        )
    if not case.isprintable():  # control characters, and bytes that are not UTF-8
        raise InputError(
            f"{source}: case id {case!r} holds signs that cannot be printed; rename the case"
        )
    if len(case.encode()) > LONGEST_ID:
        raise InputError(
            f"{source}: case id {case[:20]}... is longer than {LONGEST_ID} bytes; rename the case"
        )
