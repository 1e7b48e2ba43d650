"""From relevance to per-pixel targets, and its one-byte form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -1.0
LEVELS = 254  # a byte of 0 is "unknown", so that what was never written is ignored


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
