"""Copies of the good examples."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.malformed.examples import EXAMPLES


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as those here are quicker with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns the folder of a good example, which must not be changed."""
    made: dict[str, Path] = {}

    def provide(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            EXAMPLES[name](made[name])
        return made[name]

    return provide


@pytest.fixture
def copied(
    good: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """A function that copies a good example into an empty folder, and goes there."""

    def copy(name: str) -> Path:
        folder = tmp_path / "here"
        shutil.copytree(good(name), folder)
        monkeypatch.chdir(folder)
        return folder

    return copy
