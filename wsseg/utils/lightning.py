"""A callback class for both packages of Lightning, and functions on a trainer.

``pytorch_lightning.Callback`` and ``lightning.pytorch.Callback`` are different classes. Trainers
accept either, but each LightningCLI refuses the other's. A class that inherits both works in both.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning import Callback as LightningCallback
else:
    _INSTALLED = []
    for _package in ("pytorch_lightning", "lightning.pytorch"):
        with suppress(ImportError):
            _INSTALLED.append(import_module(_package).Callback)
    LightningCallback = type("LightningCallback", tuple(_INSTALLED), {})

__all__ = ["LightningCallback", "is_last_epoch", "join_metrics"]


def is_last_epoch(trainer: Any) -> bool:
    """Return whether training ends with the current epoch; to be called at its end.

    Args:
        trainer: The Lightning trainer.

    Example:
        >>> from pytorch_lightning import Trainer
        >>> is_last_epoch(Trainer(max_epochs=1, accelerator="cpu", logger=False))
        True
    """
    if trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step:
        return True
    return trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs


def join_metrics(trainer: Any) -> None:
    """Make all processes sum the metrics that were logged in an epoch, at its end.

    Otherwise process 0 may start to sum them for its progress bar while the others already start
    another communication, and all would wait for each other for ever.

    Args:
        trainer: The Lightning trainer.
    """
    _ = trainer.callback_metrics  # reading it sums the metrics over the processes
