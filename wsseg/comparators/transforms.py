"""Random rotations, zooms and mirror images, with which maps must move as slices do."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.data.augmentation import sampling_grid, similarity, warp_labels
from wsseg.utils.global_batch import drawn

ROTATION = 30.0  # degrees to either side
ZOOM = (0.6, 1.2)


def random_grid(count: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Draw a rotation, a zoom and a mirror image for every slice.

    Args:
        count: Number of slices B.
        size: Height and width.
        device: The device that draws, and holds the grid.

    Returns:
        A sampling grid, [B, H, W, 2].
    """
    angle = (2 * drawn(torch.rand, (count,), device=device) - 1) * math.radians(ROTATION)
    zoom = ZOOM[0] + (ZOOM[1] - ZOOM[0]) * drawn(torch.rand, (count,), device=device)
    flip = drawn(torch.rand, (count,), device=device) < 0.5
    return sampling_grid(similarity(angle, zoom, flip), *size)


def move(maps: Tensor, grid: Tensor) -> Tensor:
    """Move images or maps [B, C, H, W] along a grid; zeros come in from outside."""
    return F.grid_sample(maps, grid.to(maps.dtype), "bilinear", "zeros", align_corners=False)


def move_valid(valid: Tensor, grid: Tensor) -> Tensor:
    """Move a mask [B, H, W] along a grid; what comes in from outside is not valid."""
    moved, _, inside = warp_labels(valid, None, grid)
    return moved & inside
