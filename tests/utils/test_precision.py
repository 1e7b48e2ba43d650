"""Which precision a machine gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.test_lightning_cli import fit
from tests.data.conftest import write_store
from wsseg.utils.precision import computes_bfloat16, native_precision


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
