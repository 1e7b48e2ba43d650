"""A view for symmetric organs: how a place differs from its mirror image.

Healthy tissue of a brain looks like its mirror image; a lesion does not, even where its intensity
alone is unremarkable, as on T1. The healthy tissue opposite a lesion differs from its mirror image
as well. Of the two sides, the one that looks more like the class is taken for the lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.views import View, image_of
from wsseg.utils.smoothing import blur

SIDES_BLUR = 3.0
"""Width in pixels of the Gaussian that smooths images before their sides are compared: the halves
of a brain do not match to the pixel. Suits organs 70 or more pixels wide."""

DETAIL_BLUR = 1.0
"""Width in pixels of a Gaussian; texture is the difference of the image from its smoothed copy. Not
measured."""

SIDES_CONTRAST = 2
"""Power to which the likeness of a place and that of its mirror image are raised before they are
compared. Not measured."""


@dataclass(frozen=True)
class Asymmetry(View):
    """How brightness and texture differ from the mirror image; seen by every second clustering.

    Adds 0.01 Dice on FLAIR and T1 of BraTS 2018 (0.835 without it), and reveals most of a tumour on
    T1 alone (experiments/results).
    """

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        """Return the asymmetry of each modality's brightness and texture, [B, 2M, h, w]."""
        return asymmetry(image_of(slices, self), slices.valid)

    def trust(self, likeness: Tensor, valid: Tensor) -> Tensor:
        """Trust a place less that looks less like the class than its mirror image does."""
        return trust_in_side(likeness, valid)


def mirror(maps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Reflect slices left-right about the middle of their valid pixels.

    Args:
        maps: [B, C, h, w].
        valid: Valid pixels, [B, h, w] bool.

    Returns:
        The mirror images [B, C, h, w], and where a pixel and its counterpart are both valid
        [B, 1, h, w] bool.
    """
    width = valid.shape[-1]
    column = torch.arange(width, device=valid.device)
    count = valid.sum(dim=(1, 2)).clamp_min(1)
    twice_the_middle = (2 * (valid * column).sum(dim=(1, 2)) / count).round().long()
    source = twice_the_middle[:, None] - column
    inside = (source >= 0) & (source < width)
    source = source.clamp(0, width - 1)[:, None, None, :]
    both = valid & valid.gather(2, source[:, 0].expand_as(valid)) & inside[:, None, :]
    return maps.gather(3, source.expand_as(maps)), both[:, None]


def asymmetry(image: Tensor, valid: Tensor) -> Tensor:
    """Return how brightness and texture around each pixel differ from its mirror image.

    Args:
        image: Slices whose columns run left-right, [B, M, h, w].
        valid: Valid pixels, [B, h, w] bool.

    Returns:
        [B, 2M, h, w]; 0 where the mirror image is not valid.

    Example:
        >>> image = torch.zeros(1, 1, 8, 8)
        >>> image[..., 2:4, 1:3] = 1.0  # a bright spot on one side
        >>> difference = asymmetry(image, torch.ones(1, 8, 8, dtype=torch.bool))
        >>> difference.shape, bool(difference[0, 0, 3, 2] > 0), bool(difference[0, 0, 3, 5] < 0)
        (torch.Size([1, 2, 8, 8]), True, True)
    """
    known = valid[:, None]
    detail = (image - blur(image, known, DETAIL_BLUR)).abs()
    broad = blur(torch.cat((image, detail), dim=1), known, SIDES_BLUR)
    mirrored, both = mirror(broad, valid)
    return (broad - mirrored) * both


def trust_in_side(likeness: Tensor, valid: Tensor) -> Tensor:
    """Return how far a pixel is trusted, by comparing its likeness with that of its mirror image.

    Args:
        likeness: How much each pixel looks like each class by itself, [B, C, h, w].
        valid: Valid pixels, [B, h, w] bool.

    Returns:
        [B, C, h, w]: 1 for pixels that look at least as much like the class as their mirror images
        do, falling to 0 for those that look much less like it.
    """
    here = blur(likeness, valid[:, None], SIDES_BLUR)
    there, both = mirror(here, valid)
    here, there = here**SIDES_CONTRAST, there**SIDES_CONTRAST
    trust = (2 * here / (here + there).clamp_min(1e-9)).clamp_max(1)
    return torch.where(both, trust, 1.0)
