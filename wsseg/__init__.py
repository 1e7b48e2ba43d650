"""Pixel masks from image-level tags, for multi-modal medical images.

>>> from wsseg import ClusterReSupervision
>>> callback = ClusterReSupervision(warmup_epochs=4, every_n_epochs=4)

A name is imported from its package when it is first used, so that ``import wsseg`` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsseg.checkpoints.loading import load_module
    from wsseg.clustering import ClusterReSupervision
    from wsseg.data.datamodule import MRISliceDataModule
    from wsseg.data.preparation import prepare
    from wsseg.models import CamModule
    from wsseg.prediction import predict

__version__ = "0.1.0"
__all__ = [
    "CamModule",
    "ClusterReSupervision",
    "MRISliceDataModule",
    "load_module",
    "predict",
    "prepare",
]
_MODULES = {
    "CamModule": "wsseg.models",
    "ClusterReSupervision": "wsseg.clustering",
    "MRISliceDataModule": "wsseg.data.datamodule",
    "load_module": "wsseg.checkpoints.loading",
    "predict": "wsseg.prediction",
    "prepare": "wsseg.data.preparation",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module in which it is defined (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'wsseg' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return all names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
