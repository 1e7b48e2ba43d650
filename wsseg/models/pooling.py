"""From class activation maps to one number per slice and class."""

from __future__ import annotations

import torch
from torch import Tensor


def top_mean(maps: Tensor, valid: Tensor, fraction: float) -> Tensor:
    """Average over the highest pixels that hold anatomy.

    Args:
        maps: Logits, [B, C, H, W].
        valid: Pixels that count, [B, H, W] bool.
        fraction: Share of the H x W pixels that is averaged (at least one pixel).

    Returns:
        [B, C]. A slice with fewer valid pixels than that averages those it has; a slice with
        none gives 0.
    """
    count = max(1, round(fraction * valid.shape[-2] * valid.shape[-1]))
    lowest = torch.finfo(maps.dtype).min
    pixels = maps.masked_fill(~valid[:, None], lowest).flatten(2)
    highest = pixels.topk(count, dim=2, sorted=False).values
    counts = highest > lowest
    return (highest * counts).sum(dim=2) / counts.sum(dim=2).clamp_min(1)
