"""Targets of pixels: 1 where a class is, 0 where it is not, -1 (ignore) where that is unknown."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

CLUSTER_MAP: Final = "cluster_map"
"""Under this name a training batch holds the targets that clusters have given its pixels."""

CORRECTED: Final = "corrected"
"""Under this name a training batch holds the targets that a person has given its pixels."""

IGNORE = -1.0
"""The target, and the relevance, of a pixel whose class is unknown."""


def to_targets(relevance: Tensor, low: float, high: float) -> Tensor:
    """Turn relevance into targets by two thresholds.

    Args:
        relevance: Values in [0, 1], or ``IGNORE``.
        low: A pixel whose relevance is at most this does not belong to the class (target 0).
        high: A pixel whose relevance exceeds this belongs to it (target 1).

    Returns:
        Targets of the same shape: 0, 1, or ``IGNORE`` between the thresholds and where the
        relevance is unknown.

    Example:
        >>> to_targets(torch.tensor([0.1, 0.4, 0.9, -1.0]), low=0.3, high=0.5)
        tensor([ 0., -1.,  1., -1.])
    """
    relevant, irrelevant = relevance > high, (relevance <= low) & (relevance >= 0)
    return torch.where(relevant | irrelevant, relevant.to(relevance.dtype), IGNORE)


def with_corrected(target: Tensor, corrected: Tensor | None) -> Tensor:
    """Return targets in which those of a person take the place of all others.

    Args:
        target: [B, C, H, W].
        corrected: Likewise, ``IGNORE`` where nobody has corrected anything; None if there are none.

    Example:
        >>> with_corrected(torch.tensor([1.0, 1.0]), torch.tensor([0.0, -1.0]))
        tensor([0., 1.])
    """
    return target if corrected is None else torch.where(corrected >= 0, corrected, target)


def limited_by(tags: Tensor, relevance: Tensor) -> Tensor:
    """Return relevance as tags allow it: 0 without the class, ``IGNORE`` where that is unknown.

    Args:
        tags: [B, C], 0, 1, or NaN where unknown.
        relevance: [B, C, h, w].

    Example:
        >>> tags = torch.tensor([[1.0, 0.0, torch.nan]])
        >>> limited_by(tags, torch.full((1, 3, 1, 1), 0.5)).flatten()
        tensor([ 0.5000,  0.0000, -1.0000])
    """
    tags = tags.to(relevance.device)[:, :, None, None]
    return relevance.masked_fill(tags <= 0.5, 0.0).masked_fill(tags.isnan(), IGNORE)


def resize(relevance: Tensor, height: int, width: int) -> Tensor:
    """Change the resolution of maps; unknown pixels do not affect the values of known ones.

    Args:
        relevance: [B, C, h, w], ``IGNORE`` where unknown.
        height: New height.
        width: New width.

    Returns:
        [B, C, height, width]; interpolated bilinearly from known pixels, ``IGNORE`` where the
        nearest pixel is unknown.

    Example:
        >>> resize(torch.ones(1, 1, 4, 4), 8, 8).shape
        torch.Size([1, 1, 8, 8])
    """
    if relevance.shape[-2:] == (height, width):
        return relevance
    known = (relevance >= 0).to(relevance.dtype)
    size = (height, width)
    weight = F.interpolate(known, size, mode="bilinear", align_corners=False)
    total = F.interpolate(relevance * known, size, mode="bilinear", align_corners=False)
    keep = F.interpolate(known, size, mode="nearest-exact") > 0
    return torch.where(keep, total / weight.clamp_min(1e-6), IGNORE)
