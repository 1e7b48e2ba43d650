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
    """Put a module and all its parts into evaluation mode, and each back as it was.

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
    """Give the global random generators of Python, numpy and torch back as they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - others use it
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
