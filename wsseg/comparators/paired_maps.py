"""Pairs of maps, background and class, as the authors of CRS make them from two levels.

The form of the maps is that of Z. Kuang, Z. Yan, H. Zhou, L. Yu, "Cluster-Re-Supervision", IEEE
JBHI 27(10), 2023, and of their later work on several classes. A class has two channels, 0 for its
background and 1 for itself, on a finer and on a coarser level of an encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 1e-9


class PairedMaps(NamedTuple):
    """What the heads of two levels give."""

    cam: Tensor
    """Maps of (background, class), [B, C, 2, H, W] in [0, 1]."""
    logits: Tensor
    """Of (background, class) by level, [2, B, C, 2]."""


class PairedHeads(nn.Module):
    """1x1 convolutions without bias on two levels; their normalised maps are multiplied."""

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        """Build one head for each level.

        Args:
            widths: Channels of the two levels.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.num_classes = num_classes
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 2 * num_classes, 1, bias=False) for width in widths
        )

    def forward(self, levels: Sequence[Tensor], size: Sequence[int]) -> PairedMaps:
        """Make the maps.

        Args:
            levels: Features of the two levels.
            size: Height and width of the image.
        """
        half = (size[0] // 2, size[1] // 2)
        shape = (self.num_classes, 2)
        product, logits = None, []
        for head, level in zip(self.heads, levels, strict=True):
            maps = head(level).float()
            logits.append(maps.mean(dim=(2, 3)).unflatten(1, shape))
            resized = F.interpolate(maps, half, mode="bilinear", align_corners=False)
            cam = joint_min_max(resized.unflatten(1, shape))
            product = cam if product is None else product * cam
        assert product is not None
        full = F.interpolate(product.flatten(1, 2), tuple(size), mode="bilinear")
        return PairedMaps(full.unflatten(1, shape), torch.stack(logits))


def joint_min_max(maps: Tensor) -> Tensor:
    """Scale the two maps of every slice and class to [0, 1] by their common extremes.

    Args:
        maps: [B, C, 2, H, W].
    """
    low = maps.amin(dim=(2, 3, 4), keepdim=True)
    high = maps.amax(dim=(2, 3, 4), keepdim=True)
    return (maps - low) / (high - low + TINY)


def wrong_channel_loss(cam: Tensor, tags: Tensor) -> Tensor:
    """Mean of the map that the tag excludes: background where tagged, the class elsewhere.

    Args:
        cam: [B, C, 2, H, W].
        tags: [B, C], 0 or 1.
    """
    background, found = cam.mean(dim=(3, 4)).unbind(dim=2)
    return (tags * background + (1 - tags) * found).mean()


def weighted_cross_entropy(logits: Tensor, tags: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy over (background, class), weighted as ``torch.nn.CrossEntropyLoss`` does.

    Args:
        logits: [B, C, 2].
        tags: [B, C], 0 or 1.
        weights: Of (background, class), [C, 2].

    Returns:
        A scalar, the mean over classes.
    """
    target = tags.long()
    loss = -F.log_softmax(logits, dim=2).gather(2, target[..., None])[..., 0]
    weight = weights.expand(len(tags), -1, -1).gather(2, target[..., None])[..., 0]
    return ((loss * weight).sum(dim=0) / weight.sum(dim=0).clamp_min(TINY)).mean()


def training_tag_shares(trainer: pl.Trainer, num_classes: int) -> Tensor:
    """Return the share of training slices that carry each tag, [C]; a half if nobody knows.

    Args:
        trainer: Whose data module knows the training cases.
        num_classes: Number of tags C.
    """
    splits = getattr(getattr(trainer, "datamodule", None), "splits", None)
    if not splits:
        return torch.full((num_classes,), 0.5)
    return torch.cat([case.tags for case in splits["train"]]).mean(dim=0)
