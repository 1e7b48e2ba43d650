"""Attention between two slices and losses between classes, for feature decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNER_ERASED = 0.1  # weight of an inner class that an outer one has erased
OVERLAP, COVER = 0.1, 0.1


class CoAttention(nn.Module):
    """Rebuilds the features of one slice from those of another."""

    def __init__(self, width: int) -> None:
        """Build the bilinear form that compares pixels.

        Args:
            width: Number of features.
        """
        super().__init__()
        self.form = nn.Linear(width, width, bias=False)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """Give every pixel the features of the other slice's pixels that are like it.

        Args:
            features: [B, D, h, w].
            other: [B, D, h, w].

        Returns:
            [B, D, h, w].
        """
        own, keys = features.flatten(2).transpose(1, 2), other.flatten(2).transpose(1, 2)
        attended = F.scaled_dot_product_attention(self.form(own), keys, keys, scale=1.0)
        return attended.transpose(1, 2).reshape_as(features)


def nesting(labels: Sequence[Sequence[int]]) -> Tensor:
    """Tell which class lies within which.

    Args:
        labels: The mask labels that make each class.

    Returns:
        [C, C] bool: whether the class of the column is the class of the row, or a part of it.
    """
    sets = [set(each) for each in labels]
    return torch.tensor([[inner <= outer for inner in sets] for outer in sets])


def nested_maximum(maps: Tensor, within: Tensor) -> Tensor:
    """Give every class the highest of its own map and those of its inner classes.

    Args:
        maps: [B, C, H, W].
        within: :func:`nesting`, [C, C].
    """
    return torch.stack([maps[:, row].amax(dim=1) for row in within.to(maps.device)], dim=1)


def exclusion_loss(cam: Tensor, tags: Tensor, within: Tensor) -> Tensor:
    """Let the maps of every two classes erase each other.

    What an inner class leaves of an outer one must still tell the outer class, and (with less
    weight) the other way round; where the outer class is tagged the two maps should not overlap,
    but together cover.

    Args:
        cam: Maps of (background, class), [B, C, 2, H, W].
        tags: [B, C], 0 or 1.
        within: :func:`nesting`; of two classes that are not nested, the first is taken as inner.

    Returns:
        A scalar, the mean over pairs of classes.
    """
    losses = []
    for first in range(cam.shape[1]):
        for second in range(first + 1, cam.shape[1]):
            inner, outer = (second, first) if within[first, second] else (first, second)
            losses.append(_exclude(cam[:, inner], cam[:, outer], tags[:, inner], tags[:, outer]))
    return torch.stack(losses).mean()


def _exclude(inner: Tensor, outer: Tensor, inner_tag: Tensor, outer_tag: Tensor) -> Tensor:
    """Return the loss of two pairs of maps [B, 2, H, W] with tags [B]."""
    rest = (outer * (1 - inner[:, 1:].detach())).mean(dim=(2, 3))
    core = (inner * (1 - outer[:, 1:].detach())).mean(dim=(2, 3))
    told = F.cross_entropy(rest, outer_tag.long())
    told = told + INNER_ERASED * F.cross_entropy(core, inner_tag.long())
    overlap = torch.minimum(inner[:, 1], outer[:, 1]).mean(dim=(1, 2))
    cover = torch.maximum(inner[:, 1], outer[:, 1]).mean(dim=(1, 2))
    return told + OVERLAP * (outer_tag * (overlap - COVER * cover)).mean()


def alignment_loss(own: Tensor, common: Tensor, tags: Tensor) -> Tensor:
    """Reward what a slice's own map and its common map both show of a shared class.

    Args:
        own: [B, C, 2, H, W].
        common: [B, C, 2, H, W].
        tags: Whether both slices have the tag, [B, C].

    Returns:
        A scalar of at most 0.
    """
    both = torch.minimum(own[:, :, 1], common[:, :, 1]).mean(dim=(2, 3))
    return -(tags * both).mean()
