"""Gaussian smoothing of maps that are known in some pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 3  # of a Gaussian, in its widths
PLANES = 16  # the least number to convolve at a time, which fills the vectors of a processor, ...
PART = 2**18  # ... and how many values at a time mostly fit its cache


def blur(maps: Tensor, known: Tensor, sigma: float) -> Tensor:
    """Average maps with their surroundings, as far as these are known.

    Args:
        maps: [B, C, h, w].
        known: Pixels that count, [B, C, h, w] or [B, 1, h, w] bool.
        sigma: Width of the Gaussian in pixels; 0 leaves the known pixels as they are.

    Returns:
        The weighted mean of the known pixels around each known pixel, 0 at the others.

    Example:
        >>> maps = torch.tensor([[[[0.0, 8.0, 100.0]]]])
        >>> blur(maps, known=maps < 100, sigma=1.0)
        tensor([[[[3.0203, 4.9797, 0.0000]]]])
    """
    if sigma == 0:
        return maps * known
    if maps.dtype.itemsize < 4:  # would round away small differences, and takes minutes on a CPU
        return blur(maps.float(), known, sigma).to(maps.dtype)
    weight = known.to(maps.dtype)
    with torch.autocast(maps.device.type, enabled=False):
        return _blur(maps * weight, sigma).mul_(weight / _blur(weight, sigma).clamp_min(1e-6))


def blur_across(maps: Tensor, known: Tensor, depth: Tensor, sigma: float) -> Tensor:
    """Average the maps of a case's slices with those of the slices above and below.

    What a network takes for a finding in one slice only is mostly noise.

    Args:
        maps: [S, C, h, w].
        known: Pixels that count, [S, C, h, w] or [S, 1, h, w] bool.
        depth: Where the slices lie along the slicing axis, [S].
        sigma: Width of the Gaussian in the units of the depth; 0 leaves the maps as they are.

    Returns:
        The weighted mean of the known pixels along that axis at each known pixel; the others stay
        as they are.

    Example:
        >>> maps = torch.tensor([0.0, 8.0]).view(2, 1, 1, 1)
        >>> known = torch.ones(2, 1, 1, 1, dtype=torch.bool)
        >>> blur_across(maps, known, depth=torch.tensor([0.0, 1.0]), sigma=1.0).flatten()
        tensor([3.0203, 4.9797])
    """
    if sigma == 0 or len(maps) < 2:
        return maps
    distance = (depth[:, None] - depth).abs().to("cpu", maps.dtype)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance <= RADIUS * sigma)
    if kernel.count_nonzero() == len(kernel):  # slices are too far apart
        return maps
    kernel, weight = kernel.to(maps.device), known.to(maps.dtype)
    with torch.autocast(maps.device.type, enabled=False):
        total, share = (
            (kernel @ part.flatten(1)).view_as(part) for part in (maps * weight, weight)
        )
    return torch.where(known, total / share.clamp_min(1e-6), maps)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Convolve [B, C, h, w] with a Gaussian along both axes, with zeros around."""
    radius = max(1, math.ceil(RADIUS * sigma))
    offset = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    return _convolve(maps, kernel)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [B, C, h, w] with a kernel along both axes, with zeros around.

    Planes become the channels of depthwise convolutions in channels-last memory: on one CPU thread
    128 planes of 128 x 128 take 6 ms that way, and 120 ms as the batch of a one-channel
    convolution. A single plane is doubled, since the convolution of one channel rounds in another
    order. On a GPU the memory is contiguous: torch computes that itself in float32, but hands
    channels-last memory to cuDNN, which may round to ten bits (TF32).
    """
    planes = maps.flatten(0, 1)
    if not len(planes):
        return maps
    together = max(PLANES, PART // planes[0].numel()) if planes.is_cpu else len(planes)
    found = torch.empty_like(planes)
    for start in range(0, len(planes), together):
        part = planes[start : start + together]
        pair = part if len(part) > 1 else part.expand(2, -1, -1)
        found[start : start + together] = _convolve_planes(pair, kernel)[: len(part)]
    return found.view_as(maps)


def _convolve_planes(planes: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [P, h, w], at least two planes."""
    count, radius = len(planes), len(kernel) // 2
    layout = torch.channels_last if planes.is_cpu else torch.contiguous_format
    channels = planes[None].contiguous(memory_format=layout)
    across = kernel[None, None, None, :].expand(count, 1, 1, -1)
    channels = F.conv2d(channels, across, padding=(0, radius), groups=count)
    channels = F.conv2d(channels, across.transpose(2, 3), padding=(radius, 0), groups=count)
    return channels[0]
