"""Context managers that leave a training run as they found it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module and all its parts into evaluation mode, and restore the mode of each afterwards.

    Args:
        module: The module.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global random generators of Python, numpy and torch afterwards."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - others use it
    # Only the device in use: by default all of them, with a warning where there are several.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
