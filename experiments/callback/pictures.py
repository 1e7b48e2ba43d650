"""Synthetic pictures of objects of which a classifier needs to see only a small part."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 56
BODIES = torch.tensor([[1.0, -0.8, 0.3], [-1.0, 0.3, 0.8], [1.0, 0.8, -0.8]])
EYES = (2.0, -2.0, 2.0)
STRIPES = 1.0 - 2 * (torch.arange(SIZE) % 4 // 2)[:, None]  # of the third class


class Pictures:
    """Noise with a light and a dark disk; a tag says whether there is an object of a class, too.

    An object is a large disk in the colour or stripes of its class, with a small eye that is easier
    to see.

    Attributes:
        images: [N, M, 56, 56].
        tags: [N, C], 0 or 1.
        masks: [N, C, 56, 56] bool; no training sees them.
    """

    def __init__(self, count: int, channels: int, classes: int, seed: int) -> None:
        """Draw pictures.

        Args:
            count: Number of pictures.
            channels: M, at most 3.
            classes: C, at most 3.
            seed: Seed of the drawing.
        """
        draw = torch.Generator().manual_seed(seed)
        coarse = torch.randn(count, channels, 6, 6, generator=draw)
        self.images = 0.3 * F.interpolate(coarse, (SIZE, SIZE), mode="bicubic")
        self.images += 0.2 * torch.randn(self.images.shape, generator=draw)
        self.tags = (torch.rand(count, classes, generator=draw) < 0.5).float()
        self.masks = torch.zeros(count, classes, SIZE, SIZE, dtype=torch.bool)
        for number in range(count):
            for grey in (0.5, -0.5):
                self.images[number, :, draw_disk(draw, 3, 6)[0]] += grey
            for c in self.tags[number].nonzero().flatten().tolist():
                body, eye = draw_disk(draw, 8, 10)
                while (body & self.masks[number].any(dim=0)).any():  # on another object
                    body, eye = draw_disk(draw, 8, 10)
                shape = body * BODIES[c, :channels, None, None] + eye * EYES[c]
                texture = STRIPES if c == 2 else torch.ones(())
                self.images[number] = self.images[number] * ~body + shape * texture
                self.masks[number, c] = body


def draw_disk(draw: torch.Generator, least: int, most: int) -> tuple[Tensor, Tensor]:
    """Return the pixels of a disk at a random place, and those of an eye in it, [56, 56] bool."""
    radius = int(torch.randint(least, most + 1, (1,), generator=draw))
    y, x = torch.randint(radius, SIZE - radius, (2,), generator=draw).tolist()
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    body = (rows - y).square() + (columns - x).square() <= radius**2
    return body, (rows - y - 3).square() + (columns - x).square() <= 4
