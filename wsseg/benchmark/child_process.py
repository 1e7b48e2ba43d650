"""Runs ``wsseg`` in a child process, which ends at the latest when its parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from wsseg.utils.system import end_with_parent

LAST_LINES = 8


def run_command(arguments: Sequence[str]) -> str | None:
    """Run ``wsseg``, its output on the same terminal. To be called from the main thread.

    Args:
        arguments: Sub-command and options.

    Returns:
        None if it succeeded, else its last lines of error output.
    """
    command = [sys.executable, "-m", "wsseg", *arguments]
    last: deque[str] = deque(maxlen=LAST_LINES)
    # Only errors pass through us: a progress bar must see the terminal itself.
    with (
        _termination_interrupts(),
        subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=partial(end_with_parent, os.getpid()),
        ) as process,
        _ending(process),
    ):
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            if line.strip():
                last.append(line.rstrip())
    if process.returncode == 0:
        return None
    return "\n".join(last) or f"`wsseg {arguments[0]}` ended with status {process.returncode}"


def refusal(arguments: Sequence[str]) -> str | None:
    """Return why ``wsseg`` would refuse the settings of a training; None if it would not.

    Args:
        arguments: Those of ``fit``.
    """
    command = [sys.executable, "-m", "wsseg.cli.settings_check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
    return lines[-1]


@contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process and wait for its end when the block is left by an error.

    Else it would train on unseen, and write into the folder in which the run is started again.
    """
    try:
        yield
    except BaseException:
        process.terminate()
        # Training continues to the end of its batch; after Ctrl-C `Popen` alone waits for 0.25 s.
        process.communicate()
        raise


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM, which ``kill`` and queues send, as Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
