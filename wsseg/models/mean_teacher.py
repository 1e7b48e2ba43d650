"""The average of a network's weights, which predicts instead of the network."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wsseg.utils.errors import InputError

COARSE = ("16-true", "bf16-true")  # precisions that round a small step of the average to none


@torch.no_grad()
def update_average(
    slow: Sequence[Tensor], fast: Sequence[Tensor], updates: Tensor, *, decay: float
) -> None:
    """Move averaged weights towards the current ones, first all the way and then ever slower.

    Args:
        slow: The averaged weights, changed in place.
        fast: The current weights.
        updates: How often they were averaged.
        decay: Share that is kept in the long run.
    """
    # A condition on the value of a tensor would wait for the GPU; `torch.where` does not.
    moved = torch.where(updates == 0, 1.0, torch.clamp(9 / (10 + updates), min=1 - decay))
    for old, new in zip(slow, fast, strict=True):
        if old.is_floating_point():
            old.lerp_(new, moved.to(old.dtype))
        else:
            old.copy_(new)


class MeanTeacher(AveragedModel):
    """A copy of a network whose weights are the running average of the network's weights.

    The average is that of :func:`update_average`. torch's own ``update_parameters`` is replaced
    because it reads its counter from the GPU twice in every step, and each time waits for the GPU.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> teacher = MeanTeacher(network, decay=0.98)
        >>> teacher.update_parameters(network)  # after every step of the optimiser
        >>> teacher(torch.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy a network.

        Args:
            network: The network.
            decay: Share of the averaged weights that every step keeps.
        """
        super().__init__(network)
        self.decay = decay
        self.requires_grad_(False)

    def update_parameters(self, model: nn.Module) -> None:
        """Move the averaged weights towards those of a network.

        Args:
            model: The network that was copied, with its weights of now.
        """
        slow, fast = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        update_average(slow, fast, self.n_averaged, decay=self.decay)
        self.n_averaged += 1


def check_averaging(trainer: pl.Trainer, decay: float) -> None:
    """Refuse to train where the teacher, which makes all predictions, cannot follow its network.

    Args:
        trainer: The trainer that is going to train.
        decay: That of the teacher; with 0 it is a copy of its network.

    Raises:
        InputError: Weights have too few bits to be averaged, or something else averages them and
            resets the teacher's running statistics.
    """
    if decay > 0 and trainer.precision in COARSE:
        raise InputError(
            f"--trainer.precision {trainer.precision}: weights of 16 bits cannot be averaged, and "
            "averaged weights predict; give bf16-mixed or 32-true"
        )
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(each, StochasticWeightAveraging) for each in callbacks):
        raise InputError(
            "--trainer.callbacks: StochasticWeightAveraging resets running statistics of the "
            "averaged weights that predict already (teacher_decay); leave it out"
        )
