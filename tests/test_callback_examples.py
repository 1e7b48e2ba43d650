"""The examples of the callback run; a short training is enough to see that they do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "experiments" / "callback"


@pytest.mark.parametrize("name", ["rgb", "three_classes", "published"])
def test_examples_run(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 60  # a page
    command = [sys.executable, path, "--seeds", "3", "--epochs", "4", "--pictures", "32"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(
        command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    seed, *figures = printed.stdout.splitlines()[-1].split()
    assert seed == "3"
    assert len(figures) == 4
    assert all(0 <= float(figure) <= 1 for figure in figures)
