"""Gaussian smoothing of maps whose values are known at some pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 3  # where a Gaussian is cut off, in standard deviations
PLANES = 16  # fewest planes that a CPU convolves at a time, so that its vector units are full
PART = 2**18  # values that a CPU convolves at a time, so that they mostly fit its cache


def blur(maps: Tensor, known: Tensor, sigma: float) -> Tensor:
    """Smooth maps with a Gaussian, using known pixels only.

    Args:
        maps: [B, C, h, w].
        known: Pixels that are known, [B, C, h, w] or [B, 1, h, w] bool.
        sigma: Standard deviation of the Gaussian in pixels; 0 leaves the known pixels as they are.

    Returns:
        The weighted mean of the known pixels around each known pixel, 0 at the others.

    Example:
        >>> maps = torch.tensor([[[[0.0, 8.0, 100.0]]]])
        >>> blur(maps, known=maps < 100, sigma=1.0)
        tensor([[[[3.0203, 4.9797, 0.0000]]]])
    """
    if sigma == 0:
        return maps * known
    if maps.dtype.itemsize < 4:  # half precision: too coarse, and minutes slower on a CPU
        return blur(maps.float(), known, sigma).to(maps.dtype)
    weight = known.to(maps.dtype)
    with torch.autocast(maps.device.type, enabled=False):
        return _blur(maps * weight, sigma).mul_(weight / _blur(weight, sigma).clamp_min(1e-6))


def blur_across(maps: Tensor, known: Tensor, depth: Tensor, sigma: float) -> Tensor:
    """Smooth the maps of a case with a Gaussian across its slices, using known pixels only.

    A finding in a single slice, without its neighbours, is mostly noise.

    Args:
        maps: [S, C, h, w].
        known: Pixels that are known, [S, C, h, w] or [S, 1, h, w] bool.
        depth: Position of each slice along the slicing axis, [S].
        sigma: Standard deviation of the Gaussian in the units of the depth; 0 leaves the maps as
            they are.

    Returns:
        At each known pixel the weighted mean of the known pixels along that axis; the other pixels
        are unchanged.

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
    if kernel.count_nonzero() == len(kernel):  # each slice is out of reach of the others
        return maps
    kernel, weight = kernel.to(maps.device), known.to(maps.dtype)
    with torch.autocast(maps.device.type, enabled=False):
        total, share = (
            (kernel @ part.flatten(1)).view_as(part) for part in (maps * weight, weight)
        )
    return torch.where(known, total / share.clamp_min(1e-6), maps)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Convolve [B, C, h, w] with a Gaussian along both axes, padded with zeros."""
    radius = max(1, math.ceil(RADIUS * sigma))
    offset = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    return _convolve(maps, kernel)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [B, C, h, w] with a kernel along both axes, padded with zeros.

    Planes become the channels of depthwise convolutions in channels-last memory: on one CPU thread
    128 planes of 128 x 128 take 6 ms that way, and 120 ms as the batch of a one-channel
    convolution. A single plane is duplicated, since torch sums in another order for one channel,
    and the result of a plane must not depend on the others. On a GPU the memory is contiguous:
    torch then computes in float32, but gives channels-last memory to cuDNN, which may round to ten
    bits (TF32).
    """
    if torch.compiler.is_exporting():  # to a graph, which has no loops and any number of slices
        return _convolve_channels(maps, kernel)
    planes = maps.flatten(0, 1)
    if not len(planes):
        return maps
    together = max(PLANES, PART // planes[0].numel()) if planes.is_cpu else len(planes)
    convolved = torch.empty_like(planes)
    for start in range(0, len(planes), together):
        part = planes[start : start + together]
        pair = part if len(part) > 1 else part.expand(2, -1, -1)
        convolved[start : start + together] = _convolve_channels(pair[None], kernel)[0, : len(part)]
    return convolved.view_as(maps)


def _convolve_channels(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel of [B, C, h, w] with a kernel along both axes."""
    count, radius = maps.shape[1], len(kernel) // 2
    layout = torch.channels_last if maps.is_cpu else torch.contiguous_format
    channels = maps.contiguous(memory_format=layout)
    across = kernel[None, None, None, :].expand(count, 1, 1, -1)
    channels = F.conv2d(channels, across, padding=(0, radius), groups=count)
    return F.conv2d(channels, across.transpose(2, 3), padding=(radius, 0), groups=count)
