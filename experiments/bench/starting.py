"""How long a user waits for the help of a command."""

from __future__ import annotations

import subprocess
import sys

from timing import Row, measure, row

COMMANDS = (["--help"], ["fit", "--help"], ["predict", "--help"])


def rows(scale: float) -> list[Row]:  # noqa: ARG001 (every section has it)
    """Start each command in a process of its own.

    Args:
        scale: Not used: a help text has one size.
    """
    found = []
    for arguments in COMMANDS:
        command = [sys.executable, "-m", "wsseg", *arguments]

        def start(command: list[str] = command) -> None:
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

        found.append(row(f"wsseg {' '.join(arguments)}", measure(start, repeats=3)))
    return found
