"""Processes that do not outlive the one that started them, even if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl.h
_LIBRARY = ctypes.CDLL(None)


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process, by SIGTERM, when the thread that started it ends.

    Args:
        parent: Number of the process that started this one, which may have ended already.
    """
    _LIBRARY.prctl(_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
