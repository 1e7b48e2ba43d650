"""Progress as one line for each epoch, for logs without a terminal such as those of SLURM."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from pytorch_lightning.callbacks import ProgressBar

LOGGED = ("train/", "val/", "clusters/relevant_area", "clusters/churn")


class EpochLines(ProgressBar):
    """Prints a line at the end of each epoch: metrics, seconds, and the time that is left.

    It replaces the progress bar, which is illegible in a log file.
    """

    def __init__(self) -> None:
        """Set the times, which the start of training sets anew."""
        super().__init__()
        self._started = self._epoch_started = time.monotonic()
        self._first_epoch = 0
        self._printing = True

    def enable(self) -> None:
        """Print in this process."""
        self._printing = True

    def disable(self) -> None:
        """Print nothing in this process; Lightning calls this in all processes but 0."""
        self._printing = False

    def on_train_start(self, *_: Any) -> None:
        """Note when training begins."""
        self._started, self._first_epoch = time.monotonic(), self.trainer.current_epoch

    def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
        """Note when the epoch begins."""
        super().on_train_epoch_start(trainer, *_)
        self._epoch_started = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the line of the epoch."""
        now, done = time.monotonic(), trainer.current_epoch + 1
        metrics = trainer.callback_metrics  # in all processes: reading it may sum over them
        if not self._printing:
            return
        values = {name: float(value) for name, value in metrics.items() if name.startswith(LOGGED)}
        text = ", ".join(f"{short_name(name)} {value:.3g}" for name, value in values.items())
        epochs, left = trainer.max_epochs, ""
        if epochs is not None and epochs > 0:
            mean = (now - self._started) / (done - self._first_epoch)
            left = f", {timedelta(seconds=round(mean * (epochs - done)))} left"
            done = f"{done}/{epochs}"
        seconds = now - self._epoch_started
        print(f"epoch {done}: {text}{', ' if text else ''}{seconds:.1f} s{left}", flush=True)


def short_name(name: str) -> str:
    """Return the name of a metric without its group, in words.

    Example:
        >>> short_name("clusters/relevant_area"), short_name("train/loss")
        ('relevant area', 'loss')
    """
    return name.partition("/")[2].replace("_", " ")
