"""From a first stage's probabilities to the pseudo-masks of a case."""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.clustering.smoothing import blur
from wsseg.clustering.targets import IGNORE


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
        tags: [S, C], 0 or 1.
        pixels: Width of the Gaussian within a slice, in pixels.
        slices: Width of the Gaussian across slices, in slices.
        high: A tagged slice in which nothing exceeds this is unknown altogether: the class is
            there, and nobody knows where.

    Returns:
        [S, C, H, W] in [0, 1]: 0 all over a slice for a class it is not tagged with, ``IGNORE``
        where unknown.
    """
    tagged = (tags > 0.5)[:, :, None, None]
    # Untagged slices must not count in the average: they would erode the ends of a lesion.
    known = valid[:, None] & tagged
    maps = torch.where(known, blur(probability, known, pixels), IGNORE)
    maps = smooth_across(maps, slices)
    empty = maps.amax(dim=(2, 3), keepdim=True) <= high
    return maps.masked_fill(empty, IGNORE).masked_fill(~tagged, 0.0)


def smooth_across(maps: Tensor, sigma: float) -> Tensor:
    """Average maps with the slices above and below: a lesion is one body, noise is not.

    Args:
        maps: [S, C, H, W] in [0, 1], ``IGNORE`` where unknown.
        sigma: Width of the Gaussian in slices; 0 leaves the maps as they are.

    Returns:
        The weighted mean of the known pixels along the case at each known pixel; the others stay
        unknown.
    """
    if sigma == 0:
        return maps
    number = torch.arange(len(maps), device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * ((number[:, None] - number) / sigma) ** 2)
    known = (maps >= 0).to(maps.dtype)
    total, weight = ((kernel @ part.flatten(1)).view_as(maps) for part in (maps * known, known))
    return torch.where(known > 0, total / weight.clamp_min(1e-6), maps)
