"""The settings of a training are checked whole, and nothing is trained or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_cli import SMALL
from tests.data.conftest import write_store
from wsseg.benchmark.child_process import refusal
from wsseg.cli.settings_check import main


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--data.batch_size=2", ""),
        ("--model.foo=3", "--model: Option 'foo' is not accepted"),
        ("--model.mask_ratio=7", "--model.mask_ratio 7: must be from 0 to 1"),
        ("--trainer.max_epochs=-7", "`max_epochs` must be"),
        ("--data.fold=9", "has no fold 9"),
    ],
)
def test_what_a_training_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str
) -> None:
    store = write_store(tmp_path / "store", size=16)
    run = tmp_path / "runs" / "run"
    given = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}", *SMALL, option]
    status, said = main(given), capsys.readouterr().err
    assert status == (2 if told else 0)
    assert told in said
    assert said.count("\n") == (1 if told else 0)
    assert not run.parent.exists()


def test_a_process_says_the_same() -> None:
    found = refusal(["fit", "--data.root=nowhere", "--model.foo=3"])
    assert (found or "").startswith("--model: Option 'foo' is not accepted")
