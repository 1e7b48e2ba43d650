"""Context managers that change a module or the random generators for the length of a block."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from wsseg.utils.distributed import Collective


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module and all its parts into evaluation mode, and restore the mode of each afterwards.

    Args:
        module: The module.

    Example:
        >>> module = nn.Sequential(nn.Dropout(), nn.Linear(2, 2).eval())
        >>> with evaluating(module):
        ...     [part.training for part in module]
        [False, False]
        >>> [part.training for part in module]
        [True, False]
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def common_buffers(module: nn.Module, collective: Collective) -> Iterator[None]:
    """Give every process the module's buffers of the first, and restore its own afterwards.

    Between training steps each process has the running statistics (of batch normalisation) of its
    own batches, so embeddings would depend on the process that makes them.

    Args:
        module: The module.
        collective: The processes.
    """
    own = []
    with torch.no_grad():
        for buffer in module.buffers() if collective.size > 1 else ():
            first = collective.broadcast(buffer)
            if not torch.equal(buffer, first):
                own.append((buffer, buffer.clone()))
                buffer.copy_(first)
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in own:
                buffer.copy_(kept)


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global random generators of Python, numpy and torch afterwards.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with untouched_generators():
        ...     first = torch.rand(3)
        >>> torch.equal(first, torch.rand(3))
        True
    """
    # Lightning's isolate_rng restores nothing if the block fails, and takes every GPU's generator.
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - others use it
    # Only the device in use: by default all of them, with a warning where there are several.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
