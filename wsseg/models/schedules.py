"""The optimiser and the learning-rate schedule of every module.

The schedule is a formula of the step. torch's ``LinearLR`` and ``CosineAnnealingLR`` in a row give
other last bits, since they multiply the rate of the step before, and raise when a run is continued
for more epochs than it was planned for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

from wsseg.models.options import Optimisation

WARMUP = 0.15  # of all steps: the learning rate rises over these


def one_cycle(step: int, steps: float) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine to zero.

    Args:
        step: Optimiser steps done.
        steps: Optimiser steps of the whole run. The share stays 0 after them.

    Example:
        >>> [round(one_cycle(step, 100), 2) for step in (0, 15, 50, 100)]
        [0.04, 1.0, 0.64, 0.0]
    """
    done = min(1.0, step / max(1.0, steps))
    if done < WARMUP:
        return 0.04 + 0.96 * done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def annealed_adamw(
    parameters: Iterable[nn.Parameter], optimisation: Optimisation, steps: float
) -> OptimizerLRScheduler:
    """Return AdamW, its learning rate warmed up and then annealed over the whole run.

    Args:
        parameters: The weights to train.
        optimisation: Learning rate, which is that at the peak of :func:`one_cycle`, and weight
            decay.
        steps: Optimiser steps of the whole run.
    """
    optimizer = torch.optim.AdamW(
        parameters, lr=optimisation.lr, weight_decay=optimisation.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=steps))
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }
