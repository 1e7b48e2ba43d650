"""Attention between two slices and losses between classes, for feature decomposition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNER_SUPPRESSED = 2.0  # weight of an inner class's suppression, an outer one's is 1
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

        As in the public code, likeness becomes weights twice: the other slice's pixels first choose
        among this one's, and among these choices this slice's pixels choose. The weights of a pixel
        therefore differ by a factor of e at most.

        Args:
            features: [B, D, h, w].
            other: [B, D, h, w].

        Returns:
            [B, D, h, w].
        """
        own, keys = features.flatten(2).transpose(1, 2), other.flatten(2).transpose(1, 2)
        likeness = (self.form(own) @ keys.transpose(1, 2)).float()
        attended: Tensor = likeness.softmax(dim=1).softmax(dim=2) @ keys.float()
        return attended.transpose(1, 2).reshape_as(features)


def draw_partners(tags: Tensor) -> Tensor:
    """Draw for every slice another one that shares a tag with it; itself if there is none.

    Example:
        >>> draw_partners(torch.tensor([[1.0], [0.0], [1.0]]))
        tensor([2, 1, 0])

    Args:
        tags: [B, C], 0 or 1.

    Returns:
        The partners' numbers, [B].
    """
    itself = torch.eye(len(tags), dtype=torch.bool, device=tags.device)
    possible = (tags @ tags.T > 0) & ~itself
    possible |= itself & ~possible.any(dim=1, keepdim=True)
    return torch.multinomial(possible.float(), 1)[:, 0]


def nesting(labels: Sequence[Sequence[int]]) -> Tensor:
    """Tell which class lies within which.

    Example:
        >>> nesting([(1, 2), (1,)])  # the second lies within the first
        tensor([[ True,  True],
                [False,  True]])

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


def class_pairs(within: Tensor) -> Iterator[tuple[int, int]]:
    """Yield every two classes as (inner, outer).

    Args:
        within: :func:`nesting`; of two classes that are not nested, the first is taken as inner.
    """
    for first in range(len(within)):
        for second in range(first + 1, len(within)):
            yield (second, first) if within[first, second] else (first, second)


def map_suppression(cam: Tensor, tags: Tensor, within: Tensor) -> Tensor:
    """Suppress the map that the tag excludes, and background and class at the same pixel.

    Args:
        cam: Maps of (background, class), [B, C, 2, H, W].
        tags: [B, C], 0 or 1.
        within: :func:`nesting`.

    Returns:
        A scalar, the sum over classes; a class that is inner to any other counts twice.
    """
    weights = torch.ones(cam.shape[1], dtype=cam.dtype)
    weights[[inner for inner, _ in class_pairs(within)]] = INNER_SUPPRESSED
    weights = weights.to(cam.device, non_blocking=True)  # no wait for the device
    background, found = cam.mean(dim=(3, 4)).unbind(dim=2)
    overlap = cam.amin(dim=2).mean(dim=(2, 3))
    wrong = tags * background + (1 - tags) * found
    return (weights * (wrong + overlap)).mean(dim=0).sum()


def exclusion_loss(cam: Tensor, tags: Tensor, within: Tensor) -> Tensor:
    """Let the maps of every two classes erase each other.

    What an inner class leaves of an outer one must still tell the outer class, and (with less
    weight) the other way round; where the outer class is tagged the two maps should not overlap,
    but together cover.

    Args:
        cam: Maps of (background, class), [B, C, 2, H, W].
        tags: [B, C], 0 or 1.
        within: :func:`nesting`.

    Returns:
        A scalar, the mean over pairs of classes.
    """
    losses = [
        _exclude(cam[:, inner], cam[:, outer], tags[:, inner], tags[:, outer])
        for inner, outer in class_pairs(within)
    ]
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
        A scalar of at most 0, the sum over classes.
    """
    both = torch.minimum(own[:, :, 1], common[:, :, 1]).mean(dim=(2, 3))
    return -(tags * both).mean(dim=0).sum()
