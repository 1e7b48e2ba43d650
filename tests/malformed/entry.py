"""What an entry of the catalogue of malformed inputs says."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def nothing() -> None:
    """Damage nothing: the command itself is wrong."""


class Malformed(NamedTuple):
    """A wrong input, and what must be said about it.

    Attributes:
        name: What is wrong, unique among the entries of its example.
        example: Name of the good example that is copied into an empty folder.
        command: The command line, run in that folder.
        told: What the message must name: the file or the option.
        damage: Damages the copy, from inside the folder.
    """

    name: str
    example: str
    command: str
    told: str
    damage: Callable[[], object] = nothing
