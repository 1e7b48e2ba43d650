"""The learning-rate schedule and the mean teacher of every module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

WARMUP = 0.15  # of all steps: the learning rate rises over these


@torch.no_grad()
def follow(
    slow: Sequence[Tensor], fast: Sequence[Tensor], updates: Tensor, *, decay: float
) -> None:
    """Move averaged weights towards the current ones, faster at first to forget the untrained ones.

    Args:
        slow: The averaged weights, changed in place.
        fast: The current weights.
        updates: How often they were averaged.
        decay: Share that is kept in the long run.
    """
    moved = torch.clamp(9 / (10 + updates), min=1 - decay)  # a tensor: no wait for the device
    for old, new in zip(slow, fast, strict=True):
        if old.is_floating_point():
            old.lerp_(new, moved.to(old.dtype))
        else:
            old.copy_(new)


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
    """
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=steps))
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }
