"""What the README shows works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_callback_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code)
    subprocess.run(
        [sys.executable, str(script)], check=True, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}
    )


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"experiments/[\w/]+\.ya?ml|\bwsseg/[a-z]+/", README):
        assert (REPOSITORY / name).exists(), name


def test_every_command_that_it_names_exists() -> None:
    from wsseg.cli import FUNCTIONS, LIGHTNING

    named = set(re.findall(r"^wsseg (\w+)", README, re.MULTILINE))
    assert named <= set(FUNCTIONS) | set(LIGHTNING)
    assert {"prepare", "fit", "test", "predict"} <= named
