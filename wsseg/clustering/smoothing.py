"""Gaussian smoothing of maps that are known in some pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def blur(maps: Tensor, known: Tensor, sigma: float) -> Tensor:
    """Average maps with their surroundings, as far as these are known.

    Args:
        maps: [B, C, h, w].
        known: Pixels that count, [B, C, h, w] or [B, 1, h, w] bool.
        sigma: Width of the Gaussian in pixels; 0 leaves the known pixels as they are.

    Returns:
        The weighted mean of the known pixels around each known pixel, 0 at the others.
    """
    weight = known.to(maps.dtype)
    maps = maps * weight
    if sigma == 0:
        return maps
    radius = max(1, math.ceil(3 * sigma))
    offset = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    return weight * _convolve(maps, kernel) / _convolve(weight, kernel).clamp_min(1e-6)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [B, C, h, w] with a kernel along both axes, with zeros around."""
    radius, planes = len(kernel) // 2, maps.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, kernel[None, None, None, :], padding=(0, radius))
    planes = F.conv2d(planes, kernel[None, None, :, None], padding=(radius, 0))
    return planes.view_as(maps)
