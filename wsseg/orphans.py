"""Processes that do not outlive the one that started them, even if that is killed."""

from __future__ import annotations

import ctypes
import signal

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl.h


def end_with_parent() -> None:
    """Have the kernel end this process, by SIGTERM, when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
