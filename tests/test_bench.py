"""The timings under `experiments/bench` fit the package; their results are not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "experiments" / "bench"


def test_every_section_can_be_imported() -> None:
    """What the package renames must not break them unnoticed."""
    names = sorted(path.stem for path in BENCH.glob("*.py"))
    assert {"run", "steps", "preparing"} <= set(names)
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        cwd=BENCH,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
