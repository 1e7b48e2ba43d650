"""Processes of ``wsseg benchmark``: what they say, and that none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from wsseg.benchmark.child_process import run_command


def test_a_failing_command_returns_its_last_lines() -> None:
    problem = run_command(["no-such-command"])
    assert problem is not None
    assert "no-such-command" in problem


def test_a_command_that_succeeds_returns_nothing() -> None:
    assert run_command(["--version"]) is None


class Terminated:
    """Standard error of a process that is killed once its child says its number."""

    def __init__(self) -> None:
        self.child = 0

    def write(self, line: str) -> None:
        self.child = int(line)
        os.kill(os.getpid(), signal.SIGTERM)


def is_alive(process: int) -> bool:
    """Tell whether a process that is not our child runs; one that ended may wait to be noticed."""
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


BENCHMARK = "from wsseg.benchmark.child_process import run_command; run_command(['fit'])"
PREPARE = """\
from tests.benchmark.test_child_process import wait
from wsseg.data.workers import mapper
with mapper(2, 2) as run: run('Waiting', wait, [0, 1])"""


@pytest.mark.parametrize("work", [BENCHMARK, PREPARE], ids=["benchmark", "prepare"])
def test_what_is_killed_outright_leaves_nothing_behind(tmp_path: Path, work: str) -> None:
    """By a signal that nobody can catch, as when memory runs out."""
    endless = tmp_path / "python"
    endless.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/started\nwhile :; do sleep 0.1; done\n")
    endless.chmod(0o755)
    lines = ["import sys", "if __name__ == '__main__':", f"    sys.executable = '{endless}'"]
    if work == PREPARE:
        lines.pop()
    script = tmp_path / "main.py"
    script.write_text("\n".join([*lines, *(f"    {line}" for line in work.split("\n"))]))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "STARTED": f"{tmp_path}/started"}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        started = wait_for(lambda: (tmp_path / "started").read_text().strip())
        parent.kill()
    assert wait_for(lambda: not is_alive(int(started)))


def wait(_: int) -> None:
    """Say which process this is, and do nothing for a long time."""
    Path(os.environ["STARTED"]).write_text(str(os.getpid()))
    time.sleep(100)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives once it holds."""
    for _ in range(300):
        with suppress(FileNotFoundError):
            if found := condition():
                return found
        time.sleep(0.1)
    raise TimeoutError


def test_a_benchmark_that_is_killed_leaves_no_training_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = tmp_path / "python"
    # Training ends only after its batch.
    endless.write_text(
        "#!/bin/sh\ntrap 'sleep 1; exit' TERM\necho $$ >&2\nwhile :; do sleep 0.1; done\n"
    )
    endless.chmod(0o755)
    terminal = Terminated()
    monkeypatch.setattr(sys, "executable", str(endless))
    monkeypatch.setattr(sys, "stderr", terminal)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_command(["fit"])
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(ProcessLookupError):  # it was ended, and waited for
        os.kill(terminal.child, 0)
