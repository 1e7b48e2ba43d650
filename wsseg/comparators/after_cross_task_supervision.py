"""After uncertainty-aware cross-task supervision: masks and distances teach each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.data.spec import Batch, DataSpec
from wsseg.segmentation.module import SegmentationModule, segmentation_network
from wsseg.utils.global_batch import total

# All of these are guesses.
REACH_OF_DISTANCES = 8  # pixels, beyond which all distances are alike
STEEPNESS = 4.0  # of the probability that a distance stands for
DISTANCE_WEIGHT, CROSS_TASK_WEIGHT = 0.5, 0.5


class AfterCrossTaskSupervision(SegmentationModule):
    """The second stage, which also learns distances to borders; both tasks teach each other.

    After the uncertainty-aware cross-task supervision of perihaematomal oedema on CT, IEEE Journal
    of Biomedical and Health Informatics 26(6), 2022, of which neither text nor abstract was
    available; only this was known: the consistency of two tasks is weighted by uncertainty. The
    network gives a mask and signed distances to its border, as in dual-task consistency (X. Luo et
    al., AAAI 2021). Each task is a target of the other, the more the surer it is of a pixel, and
    also where pseudo-masks say nothing. The mask predicts.

    The README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterCrossTaskSupervision(spec.to_dict(), widths=(4, 8, 8))
        >>> module(torch.randn(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)).shape
        torch.Size([2, 1, 32, 32])
    """

    @staticmethod
    def build_network(
        data: DataSpec, encoder: str | None, channels: int, widths: Sequence[int]
    ) -> nn.Module:
        """Make the network, whose last C maps are distances."""
        return segmentation_network(data, encoder, channels, widths, 2 * len(data.classes))

    def further_losses(
        self, maps: Tensor, target: Tensor, counted: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the losses of the distances, and of what the tasks teach each other."""
        logits, distance = maps.chunk(2, dim=1)
        distance = torch.tanh(distance)
        wanted = signed_distance(target, counted, REACH_OF_DISTANCES)
        error = total(((distance - wanted).abs() * counted).sum()) / total(counted.sum()).clamp_min(
            1
        )
        taught = cross_task_loss(logits.sigmoid(), (STEEPNESS * distance).sigmoid(), batch["valid"])
        return {"distance": DISTANCE_WEIGHT * error, "cross_task": CROSS_TASK_WEIGHT * taught}


def signed_distance(target: Tensor, counted: Tensor, reach: int) -> Tensor:
    """Return how far pixels are inside of a mask, or negative, outside, in shares of a reach.

    A step to any of the eight neighbours is one pixel. Pixels that do not count are on neither
    side, and their own values say nothing.

    Args:
        target: [B, C, H, W] in [0, 1]; above 0.5 is inside.
        counted: [B, C, H, W] bool.
        reach: Pixels, from which on distances are 1 or -1.

    Returns:
        [B, C, H, W] in [-1, 1].

    Example:
        >>> target = torch.tensor([[[[0.0, 0.0, 1.0, 1.0, 1.0]]]])
        >>> signed_distance(target, torch.ones(1, 1, 1, 5).bool(), reach=2)
        tensor([[[[-1.0000, -0.5000,  0.5000,  1.0000,  1.0000]]]])
    """
    inside = ((target > 0.5) & counted).float()
    outside = ((target <= 0.5) & counted).float()
    near_inside, near_outside = inside, outside
    within, beyond = torch.zeros_like(inside), torch.zeros_like(inside)
    for _ in range(reach):
        within, beyond = within + 1 - near_outside, beyond + 1 - near_inside
        near_inside = F.max_pool2d(near_inside, 3, stride=1, padding=1)
        near_outside = F.max_pool2d(near_outside, 3, stride=1, padding=1)
    return (within * inside - beyond * outside) / reach


def certainty(probability: Tensor) -> Tensor:
    """Return one less the entropy of probabilities, in bits: 0 at one half, 1 at 0 and at 1.

    Example:
        >>> certainty(torch.tensor([0.0, 0.5, 1.0])).round(decimals=2)
        tensor([1., 0., 1.])
    """
    p = probability.clamp(1e-6, 1 - 1e-6)
    return 1 + (p * p.log() + (1 - p) * (1 - p).log()) / math.log(2)


def cross_task_loss(one: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Return how far each task is from the other, weighted by how sure that other one is.

    Args:
        one: Probability by one task, [B, C, H, W].
        other: That by the other task.
        valid: [B, H, W] bool.

    Returns:
        The mean of squared differences over valid pixels, classes and both directions. A task is
        not pulled by what it teaches.
    """
    pairs = ((one, other.detach()), (other, one.detach()))
    squares = [certainty(teacher) * (pupil - teacher).square() for pupil, teacher in pairs]
    summed = total((torch.stack(squares).mean(dim=0) * valid[:, None]).sum())
    return summed / (total(valid.sum()) * one.shape[1]).clamp_min(1)
