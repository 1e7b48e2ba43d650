"""What the other half of a symmetric organ tells: a lesion is seldom on both sides.

Healthy tissue looks like its mirror image; a lesion does not, even where its intensity alone is
unremarkable, as on T1. The healthy tissue opposite a lesion differs from its mirror image as well:
of the two, the one that looks more like tagged slices is taken for the lesion (:func:`one_sided`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.utils.smoothing import blur

WIDTH = 3.0  # pixels; halves do not match to the pixel, so that only broader differences count
SHARPNESS = 2


def mirror(maps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Reflect slices left-right about the middle of their anatomy.

    Args:
        maps: [B, C, h, w].
        valid: Pixels that hold anatomy, [B, h, w] bool.

    Returns:
        The mirror images [B, C, h, w], and where a pixel and its counterpart both hold anatomy
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
    """Return how brightness and texture of each pixel's surroundings differ from the other side.

    Args:
        image: Slices whose columns run left-right, [B, M, h, w].
        valid: Pixels that hold anatomy, [B, h, w] bool.

    Returns:
        [B, 2M, h, w]; 0 where there is no counterpart.
    """
    known = valid[:, None]
    detail = (image - blur(image, known, 1.0)).abs()
    broad = blur(torch.cat((image, detail), dim=1), known, WIDTH)
    mirrored, both = mirror(broad, valid)
    return (broad - mirrored) * both


def one_sided(leaning: Tensor, valid: Tensor) -> Tensor:
    """Weigh each pixel against its counterpart.

    Args:
        leaning: How much pixels look like the class whatever the other side, [B, C, h, w].
        valid: Pixels that hold anatomy, [B, h, w] bool.

    Returns:
        [B, C, h, w]: 1 for pixels that look no less like the class than their counterparts,
        falling to 0 for those that look much less like it.
    """
    own = blur(leaning, valid[:, None], WIDTH)
    other, both = mirror(own, valid)
    own, other = own**SHARPNESS, other**SHARPNESS
    weight = (2 * own / (own + other).clamp_min(1e-9)).clamp_max(1)
    return torch.where(both, weight, 1.0)
