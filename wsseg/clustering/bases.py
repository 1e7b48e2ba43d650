"""The base class of callbacks, whichever of Lightning's two packages is installed.

``pytorch_lightning.Callback`` and ``lightning.pytorch.Callback`` are different classes. Trainers
accept either, but each LightningCLI refuses the other's. A class that inherits both works in both.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_lightning import Callback as LightningCallback
else:
    _INSTALLED = []
    for _package in ("pytorch_lightning", "lightning.pytorch"):
        with suppress(ImportError):
            _INSTALLED.append(import_module(_package).Callback)
    LightningCallback = type("LightningCallback", tuple(_INSTALLED), {})

__all__ = ["LightningCallback"]
