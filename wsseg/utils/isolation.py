"""Context managers that restore a module or the random generators when a block ends."""

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
    """Put a module into evaluation mode, and restore the mode of each of its parts afterwards.

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
    """Copy the module's buffers of process 0 to every process, and restore them afterwards.

    During training each process has running statistics (of batch normalisation) of its own batches,
    so that without this the embeddings of a slice would depend on the process that computes them.

    Args:
        module: The module.
        collective: The processes.
    """
    replaced = []
    with torch.no_grad():
        for buffer in module.buffers() if collective.size > 1 else ():
            first = collective.broadcast(buffer)
            if not torch.equal(buffer, first):
                replaced.append((buffer, buffer.clone()))
                buffer.copy_(first)
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, former in replaced:
                buffer.copy_(former)


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
    # Lightning's isolate_rng restores nothing if the block fails, and copies all GPUs' generators.
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - data sets may use it
    # fork_rng by default saves the generators of all GPUs, and warns if there are several.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
