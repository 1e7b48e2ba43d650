"""Losses for targets that are partly wrong, and their correction, as pure functions.

The losses are those of the batches of all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.utils.global_batch import total

PIXELS = (0, 2, 3)  # sums over these leave one number per class


def noisy_mask_loss(
    logits: Tensor, target: Tensor, counted: Tensor, robustness: float, drawn: Tensor
) -> Tensor:
    """Add generalised cross-entropy and soft Dice, which balance each other's weaknesses.

    The first weighs pixels one by one, so that small lesions count little; the second weighs
    regions.

    Args:
        logits: [B, C, H, W].
        target: [B, C, H, W] in [0, 1]; anything where not counted.
        counted: [B, C, H, W] bool, pixels that have a target.
        robustness: See :func:`generalised_cross_entropy`.
        drawn: [B] bool, slices whose target nobody doubts: there it is 0.

    Returns:
        A scalar, the mean over classes.
    """
    weight, target = counted.to(logits.dtype), target.clamp(0, 1)
    of_slices = robustness * ~drawn[:, None, None, None]
    entropy = generalised_cross_entropy(logits, target, of_slices) * weight
    mean = total(entropy.sum(PIXELS)) / total(weight.sum(PIXELS)).clamp_min(1)
    return (mean + soft_dice_loss(torch.sigmoid(logits) * weight, target * weight)).mean()


def generalised_cross_entropy(logits: Tensor, target: Tensor, robustness: Tensor) -> Tensor:
    """Return the generalised cross-entropy of every pixel (Zhang and Sabuncu, NeurIPS 2018).

    ``(1 - p^q) / q``, where p is the probability of the truth, runs from cross-entropy at q = 0
    to the absolute error at q = 1: the larger q, the less weight has a pixel that contradicts the
    rest of the data. Here for independent classes; a soft target t weighs the costs of 1 and of 0
    by t and 1 - t.

    Example:
        >>> nothing, all_of_it = torch.tensor(0.0), torch.tensor(1.0)
        >>> float(generalised_cross_entropy(nothing, all_of_it, all_of_it))  # 1 - p, with p = 0.5
        0.5

    Args:
        logits: [B, C, H, W].
        target: [B, C, H, W] in [0, 1].
        robustness: q in [0, 1], of all or [B, 1, 1, 1].

    Returns:
        [B, C, H, W].
    """
    plain = robustness == 0
    power = robustness.masked_fill(plain, 1.0)  # nothing is divided by 0

    def cost(log_probability: Tensor) -> Tensor:
        robust = -torch.expm1(power * log_probability) / power
        return torch.where(plain, -log_probability, robust)

    return target * cost(F.logsigmoid(logits)) + (1 - target) * cost(F.logsigmoid(-logits))


def soft_dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Return one minus the Dice of every class over the batch, in a form made for soft targets.

    Example:
        >>> half = torch.full((1, 1, 8, 8), 0.5)
        >>> soft_dice_loss(half, target=half)
        tensor([0.])

    ``|p - t| / (|p| + |t|)`` in L1 norms (Wang et al., MICCAI 2023) equals soft Dice for targets of
    0 and 1; for those between it is least at p = t, where the usual form rewards p of 0 or 1.

    Args:
        probability: [B, C, H, W], 0 at pixels that do not count.
        target: The same.

    Returns:
        [C] in [0, 1]; 0 for a class that no target in the batch has, where the loss would be 1 for
        one wrong pixel as for many.
    """
    of_target = total(target.sum(PIXELS))
    size = total(probability.sum(PIXELS)) + of_target
    loss = total((probability - target).abs().sum(PIXELS)) / size.clamp_min(1e-6)
    return loss * (of_target > 0)


def corrected(
    target: Tensor, opinion: Tensor, tags: Tensor, share: float, confidence: float
) -> Tensor:
    """Move targets towards predictions of which the teacher is sure.

    Example:
        >>> target, opinion = torch.tensor([[[[0.0, 0.0]]]]), torch.tensor([[[[0.9, 0.6]]]])
        >>> corrected(target, opinion, tags=torch.ones(1, 1), share=0.5, confidence=0.8)
        tensor([[[[0.4500, 0.0000]]]])

    A network learns what is common in its targets before it memorises their faults; until then its
    average over time knows better than single targets (bootstrapping, Reed et al., ICLR workshop
    2015; for segmentation ADELE, Liu et al., CVPR 2022).

    Args:
        target: [B, C, H, W] in [0, 1], or negative where there is none, which stays so.
        opinion: The teacher's probability, [B, C, H, W].
        tags: [B, C], 0, 1, or NaN where unknown. Where a tag excludes a class its target is
            certain, and stays.
        share: Weight of the opinion, in [0, 1].
        confidence: The opinion counts where it exceeds this, or its opposite does.

    Returns:
        [B, C, H, W].
    """
    sure = torch.maximum(opinion, 1 - opinion) > confidence
    open_ = sure & (target >= 0) & ~(tags <= 0.5)[:, :, None, None]
    return torch.where(open_, torch.lerp(target, opinion.to(target.dtype), share), target)
