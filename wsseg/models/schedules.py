"""The optimiser and the learning-rate schedule of every module."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

from wsseg.utils.errors import InputError

WARMUP = 0.15  # of all steps: the learning rate rises over these


def one_cycle(step: int, steps: float) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine to zero.

    Args:
        step: Optimiser steps done.
        steps: Optimiser steps of the whole run; later ones, of a run that is continued for more
            epochs than it was planned for, stay at the end of the new plan.
    """
    done = min(1.0, step / max(1.0, steps))
    if done < WARMUP:
        return 0.04 + 0.96 * done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def annealed_adamw(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, steps: float
) -> OptimizerLRScheduler:
    """Return AdamW, its learning rate warmed up and then annealed over the whole run.

    Args:
        parameters: What is trained.
        lr: Peak learning rate, see :func:`one_cycle`.
        weight_decay: Weight decay.
        steps: Optimiser steps of the whole run.

    Raises:
        InputError: Learning rate or weight decay is negative.
    """
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if not value >= 0:
            raise InputError(f"--model.{name} {value:g}: must be at least 0")
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=steps))
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }
