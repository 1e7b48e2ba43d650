"""From a first stage's probabilities to the pseudo-masks of a case."""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.utils.smoothing import blur, blur_across
from wsseg.utils.targets import IGNORE


def case_maps(
    probability: Tensor,
    valid: Tensor,
    tags: Tensor,
    *,
    pixels: float,
    slices: float,
    high: float,
) -> Tensor:
    """Smooth the probabilities of a case in space; tags overrule them.

    Args:
        probability: [S, C, H, W] of all slices of the case, in order.
        valid: [S, H, W] bool.
        tags: [S, C], 0, 1, or NaN where unknown: then the class may be there.
        pixels: Width of the Gaussian within a slice, in pixels.
        slices: Width of the Gaussian across slices, in slices.
        high: A tagged slice in which nothing exceeds this is unknown altogether: the class is
            there, and nobody knows where.

    Returns:
        [S, C, H, W] in [0, 1]: 0 all over a slice for a class it is not tagged with, ``IGNORE``
        where unknown.
    """
    tagged = ~(tags <= 0.5)[:, :, None, None]
    # Untagged slices must not count in the average: they would erode the ends of a lesion.
    known = valid[:, None] & tagged
    maps = torch.where(known, blur(probability, known, pixels), IGNORE)
    maps = blur_across(maps, known, torch.arange(len(maps)), slices)
    empty = maps.amax(dim=(2, 3), keepdim=True) <= high
    return maps.masked_fill(empty, IGNORE).masked_fill(~tagged, 0.0)
