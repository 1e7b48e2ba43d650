"""What a log without a terminal shows of a training."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

from tests.training import quiet_trainer
from wsseg.cli.callbacks import run_callbacks
from wsseg.tracking.epoch_lines import EpochLines


class Logging(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        found = super().training_step(batch, batch_idx)
        self.log_dict({"train/loss": 0.25, "other": 7.0}, on_step=False, on_epoch=True)
        return found


def test_every_epoch_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = quiet_trainer(
        max_epochs=3, enable_progress_bar=True, callbacks=[EpochLines()], limit_train_batches=2
    )
    trainer.fit(Logging())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    pattern = r"epoch {}/3: loss 0\.25, \d+\.\d s, \d:\d\d:\d\d left"
    assert all(re.fullmatch(pattern.format(n + 1), line) for n, line in enumerate(lines))
    assert lines[-1].endswith("0:00:00 left")


def test_a_terminal_has_a_bar_and_a_log_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda at=terminal: at)
        (bar,) = [c for c in run_callbacks("run", []) if isinstance(c, pl.callbacks.ProgressBar)]
        assert isinstance(bar, EpochLines) != terminal
