"""Small functions that damage one file of a good example."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], object]


def put(content: bytes | str) -> Damage:
    """Replace the content of a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


def cut(share: float) -> Damage:
    """Keep only the first part of a file."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def flip(share: float) -> Damage:
    """Change one bit."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(len(content) * share)] ^= 4
        path.write_bytes(content)

    return damage


def empty_folder(path: Path) -> None:
    """Put an empty folder in the place of a file."""
    remove(path)
    path.mkdir()


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def change(*place: str | int, value: Any = None, drop: bool = False) -> Damage:
    """Change, or drop, a value of a JSON file, which is named by the keys that lead to it."""

    def damage(path: Path) -> None:
        content = inner = json.loads(path.read_text())
        for key in place[:-1]:
            inner = inner[key]
        if drop:
            del inner[place[-1]]
        else:
            inner[place[-1]] = value
        path.write_text(json.dumps(content))

    return damage


def cell(line: int, column: str, value: str) -> Damage:
    """Change a cell of a table of comma-separated values; lines count from 2, below the names."""

    def damage(path: Path) -> None:
        names, *rows = csv.reader(path.open(newline=""))
        rows[line - 2][names.index(column)] = value
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *rows])

    return damage


# What can become of any file.
OF_ANY_FILE: dict[str, Damage] = {
    "missing": remove,
    "empty": put(b""),
    "text": put(b"text"),
    "zeros": put(bytes(2000)),
    "a tenth": cut(0.1),
    "half": cut(0.5),
    "most": cut(0.9),
    "an empty folder": empty_folder,
}
