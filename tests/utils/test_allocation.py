"""Freed memory stays with the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from wsseg.utils import allocation

FAULTS = """
import resource, sys, torch
from wsseg.utils.allocation import keep_freed_memory
if sys.argv[1] == "keep": assert keep_freed_memory()
for step in range(30):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_is_not_paged_in_again() -> None:
    kept, returned = (faults(how) for how in ("keep", "return"))
    assert kept < 100
    assert returned > 10 * kept


def faults(how: str) -> int:
    """Return the page faults of the last of thirty tensors."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, capture_output=True, check=True, cwd=root).stdout)


def test_other_c_libraries_go_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: object())
    assert allocation.keep_freed_memory() is False
