"""Hundreds of malformed inputs: each is refused in one line, in time, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bounds import no_longer_than
from tests.conftest import REPOSITORY
from tests.malformed import images, kept, lists, settings, tables
from tests.malformed.entry import Malformed
from wsseg.cli import main

KINDS = (images, tables, lists, settings, kept)
CATALOGUE = [entry for kind in KINDS for entry in kind.ENTRIES]
LONGEST = 20.0  # seconds of the processor; what takes longer hangs
KEPT = re.compile(r"error: (\S+): keeps the finished cases; the same command resumes")


def identify(entry: Malformed) -> str:
    return f"{entry.command.split()[0]}-{entry.example}-{entry.name}"


@pytest.mark.parametrize("entry", CATALOGUE, ids=identify)
def test_it_is_refused_in_one_line(
    entry: Malformed, copied: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copied(entry.example)
    entry.damage()
    before = content_of(folder)
    with no_longer_than(LONGEST):
        status = main(shlex.split(entry.command))
    check(status, capfd.readouterr().err, entry, before, folder)


@pytest.mark.parametrize(
    ("example", "command"),
    [
        ("volumes", images.DATALIST),
        ("pictures", images.TABLE),
        ("decathlon", lists.DECATHLON),
        ("brats", lists.BRATS),
        ("lgg", lists.LGG),
        ("folders", lists.FOLDERS),
        ("store", settings.FIT),
        ("run", kept.PREDICT),
    ],
)
def test_what_is_damaged_was_good(
    example: str, command: str, copied: Callable[[str], Path]
) -> None:
    copied(example)
    assert main(shlex.split(command)) == 0


AS_PROCESSES = {"png: half", "header: size 0.0", "--seed_everything -1"}


@pytest.mark.parametrize(
    "entry", [each for each in CATALOGUE if each.name in AS_PROCESSES], ids=identify
)
def test_processes_say_the_same(entry: Malformed, copied: Callable[[str], Path]) -> None:
    folder = copied(entry.example)
    entry.damage()
    before = content_of(folder)
    words = [sys.executable, "-m", "wsseg", *shlex.split(entry.command)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    check(ended.returncode, ended.stderr, entry, before, folder)


def check(
    status: int, said: str, entry: Malformed, before: dict[str, object], folder: Path
) -> None:
    lines = [line for line in said.splitlines() if line.strip() and "━" not in line]
    errors = [line for line in lines if not line.startswith("warning: ")]
    assert (status, len(errors) > 0) == (2, True), said
    kept = KEPT.fullmatch(errors[-1])
    errors = errors[:-1] if kept else errors
    assert all(line.startswith("error: ") for line in errors), said
    assert all(re.search(r"; \S| must be ", line) for line in errors), said  # which says what to do
    assert any(entry.told in line for line in errors), said
    named = [re.split(r": (?!line|case)| \(", line.removeprefix("error: "))[0] for line in errors]
    assert len(set(named)) == len(named), said  # one line for each file
    after = content_of(folder)
    if kept:
        assert Path(kept[1]) == (folder / ".out.part").resolve()
        after = {name: of for name, of in after.items() if not name.startswith(".out.part")}
    assert after == before


def content_of(folder: Path) -> dict[str, object]:
    """Return what tells whether a file was changed, of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.is_file()
        and (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }
