"""From labels and scores to per-pixel targets, and their one-byte form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -1.0
LEVELS = 254  # a byte of 0 is "unknown", so that what was never written is ignored


def consensus(labels: Tensor, scores: Tensor) -> Tensor:
    """Average the scores of a pixel's clusters over the clusterings.

    Args:
        labels: [n, R] int64.
        scores: [R, K, C] in [0, 1].

    Returns:
        [n, C] float32 in [0, 1].
    """
    clusterings = torch.arange(len(scores), device=labels.device)
    return scores.to(labels.device).float()[clusterings, labels].mean(dim=1)


def relevance_map(labels: Tensor, valid: Tensor, scores: Tensor, tags: Tensor) -> Tensor:
    """Lay the consensus out as maps, with what the tags say on top.

    Args:
        labels: [B, h, w, R] int64; anything where not valid.
        valid: [B, h, w] bool.
        scores: [R, K, C] in [0, 1].
        tags: [B, C], 0 or 1.

    Returns:
        [B, C, h, w] float32: 0 all over a slice for a class it is not tagged with, else the
        consensus at valid pixels and ``IGNORE`` at the others.
    """
    relevance = torch.full((*valid.shape, scores.shape[2]), IGNORE, device=labels.device)
    relevance[valid] = consensus(labels[valid], scores)
    untagged = (tags.to(labels.device) <= 0.5)[:, None, None]
    return relevance.masked_fill_(untagged, 0.0).permute(0, 3, 1, 2)


def smooth(relevance: Tensor, sigma: float) -> Tensor:
    """Average maps with their surroundings: tissue comes in regions, noise in single pixels.

    Args:
        relevance: [B, C, h, w] in [0, 1], ``IGNORE`` where unknown.
        sigma: Width of the Gaussian in pixels; 0 leaves the maps as they are.

    Returns:
        The weighted mean of the known pixels around each known pixel; the others stay unknown.
    """
    if sigma == 0:
        return relevance
    radius = max(1, math.ceil(3 * sigma))
    offset = torch.arange(-radius, radius + 1, device=relevance.device, dtype=relevance.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    known = (relevance >= 0).to(relevance.dtype)
    total, weight = (_convolve(part, kernel) for part in (relevance * known, known))
    return torch.where(known > 0, total / weight.clamp_min(1e-6), relevance)


def blend(new: Tensor, old: Tensor, momentum: float) -> Tensor:
    """Return the average of new and old maps, wherever both are known.

    Args:
        new: [B, C, h, w], ``IGNORE`` where unknown.
        old: The same.
        momentum: Weight of the old, in [0, 1).
    """
    mixed = momentum * old + (1 - momentum) * new
    return torch.where((old >= 0) & (new >= 0), mixed, new)


def encode(relevance: Tensor) -> Tensor:
    """Store maps in bytes: 0 is unknown, 1 to 255 are relevance 0 to 1.

    Args:
        relevance: Values in [0, 1], or ``IGNORE``.
    """
    level = torch.round(relevance * LEVELS) + 1
    return torch.where(relevance >= 0, level, 0).to(torch.uint8)


def decode(stored: Tensor) -> Tensor:
    """Return float32 maps from :func:`encode`, within 1/508 of what was stored."""
    relevance = (stored.float() - 1) / LEVELS
    return torch.where(stored > 0, relevance, IGNORE)


def to_targets(relevance: Tensor, low: float, high: float, soft: bool = False) -> Tensor:
    """Decide what is relevant, what is not and what stays open.

    Args:
        relevance: Values in [0, 1], or ``IGNORE``.
        low: At most this is irrelevant (0).
        high: More than this is relevant (1); what lies between is ignored.
        soft: Keep the values themselves instead of 0 and 1.

    Returns:
        Targets in [0, 1], ``IGNORE`` where there is none.
    """
    relevant, irrelevant = relevance > high, (relevance <= low) & (relevance >= 0)
    kept = relevance if soft else relevant.to(relevance.dtype)
    return torch.where(relevant | irrelevant, kept, IGNORE)


def resize(relevance: Tensor, height: int, width: int) -> Tensor:
    """Change the resolution of maps, never blending unknown pixels into known ones.

    Args:
        relevance: [B, C, h, w], ``IGNORE`` where unknown.
        height: New height.
        width: New width.

    Returns:
        [B, C, height, width]; bilinear among known pixels, ``IGNORE`` where the nearest is.
    """
    if relevance.shape[-2:] == (height, width):
        return relevance
    known = (relevance >= 0).to(relevance.dtype)
    size = (height, width)
    weight = F.interpolate(known, size, mode="bilinear", align_corners=False)
    total = F.interpolate(relevance * known, size, mode="bilinear", align_corners=False)
    keep = F.interpolate(known, size, mode="nearest-exact") > 0
    return torch.where(keep, total / weight.clamp_min(1e-6), IGNORE)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve [B, C, h, w] with a kernel along both axes, with zeros around."""
    radius, planes = len(kernel) // 2, maps.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, kernel[None, None, None, :], padding=(0, radius))
    planes = F.conv2d(planes, kernel[None, None, :, None], padding=(radius, 0))
    return planes.view_as(maps)
