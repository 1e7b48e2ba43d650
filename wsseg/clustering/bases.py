"""The base class of callbacks, whichever of Lightning's two packages is installed.

``pytorch_lightning.Callback`` and ``lightning.pytorch.Callback`` are different classes. Trainers
accept either, but each LightningCLI refuses the other's. A class that inherits both works in both.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_lightning import Callback as LightningCallback
else:
    _INSTALLED = [
        import_module(package).Callback
        for package, top in (
            ("pytorch_lightning", "pytorch_lightning"),
            ("lightning.pytorch", "lightning"),
        )
        if find_spec(top)
    ]
    LightningCallback = type("LightningCallback", tuple(dict.fromkeys(_INSTALLED)), {})

__all__ = ["LightningCallback"]
