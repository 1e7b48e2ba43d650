"""The learning-rate schedule and the mean teacher of every module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wsseg.errors import InputError

WARMUP = 0.15  # of all steps: the learning rate rises over these


@torch.no_grad()
def follow(
    slow: Sequence[Tensor], fast: Sequence[Tensor], updates: Tensor, *, decay: float
) -> None:
    """Move averaged weights towards the current ones, first all the way and then ever slower.

    Args:
        slow: The averaged weights, changed in place.
        fast: The current weights.
        updates: How often they were averaged.
        decay: Share that is kept in the long run.
    """
    # Tensors all along, also to tell the first time: no wait for the device.
    moved = torch.where(updates == 0, 1.0, torch.clamp(9 / (10 + updates), min=1 - decay))
    for old, new in zip(slow, fast, strict=True):
        if old.is_floating_point():
            old.lerp_(new, moved.to(old.dtype))
        else:
            old.copy_(new)


class MeanTeacher(AveragedModel):
    """A copy of a network whose weights and buffers follow it, see :func:`follow`.

    torch's own update asks twice in every step how often it was called, of a GPU's memory: each
    time the host waits until the whole step is done.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy a network.

        Args:
            network: The network.
            decay: How much of the averaged weights every step keeps.
        """
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self.requires_grad_(False)

    def update_parameters(self, model: nn.Module) -> None:
        """Follow.

        Args:
            model: The network as it is now.
        """
        slow, fast = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        follow(slow, fast, self.n_averaged, decay=self.decay)
        self.n_averaged += 1


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
