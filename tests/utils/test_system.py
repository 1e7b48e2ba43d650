"""Freed memory stays with the process, and which precision a machine gets."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.test_lightning_cli import fit
from tests.data.conftest import write_store
from wsseg.utils import system
from wsseg.utils.system import computes_bfloat16, keep_freed_memory, native_precision

FAULTS = """
import resource, sys, torch
from wsseg.utils.system import keep_freed_memory
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
    monkeypatch.setattr(system.ctypes, "CDLL", lambda _: object())
    assert keep_freed_memory() is False


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        ({"avx2": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"neon": True, "bf16": True}, "bf16-mixed"),
        ({}, "32-true"),
    ],
)
def test_processors(monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert native_precision() == expected


def test_a_torch_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert native_precision() == "32-true"


@pytest.mark.parametrize("native", [True, False])
def test_gpus(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """They compute small networks faster without, and may imitate bfloat16."""
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return native

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert native_precision() == "32-true"
    assert computes_bfloat16(torch.device("cuda")) == native
    assert asked == [False]


@pytest.mark.parametrize(("native", "warned"), [(False, True), (True, False)])
def test_slow_bfloat16_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    native: bool,
    warned: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    store = write_store(tmp_path / "store", size=16)
    short = ("--trainer.precision=bf16-mixed", "--trainer.fast_dev_run=1")
    assert fit(store, tmp_path / "run", *short) == 0
    message = "this processor only emulates bfloat16; leave out --trainer.precision bf16-mixed"
    assert any(message in str(each.message) for each in recwarn) == warned
