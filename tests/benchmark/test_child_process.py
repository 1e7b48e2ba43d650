"""Processes of ``wsseg benchmark``: what they say, and that none outlives it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

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
