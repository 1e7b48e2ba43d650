"""After a two-stage segmentation of the femur: find the region, then segment inside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.data.spec import Batch, DataSpec
from wsseg.segmentation.module import SegmentationModule, drawn_slices, segmentation_network
from wsseg.segmentation.network import build_network

# All of these are guesses.
COARSENESS = 2  # pixels of a slice to a side of a pixel that the first network sees
COARSE_WIDTHS = (8, 16, 32)
FOUND_FROM = 0.3  # coarse probability of what the window must hold
WINDOW_MARGIN = 1.25  # side of the window, as a multiple of that of what is found
SMALLEST_WINDOW = 0.25  # of a side of the slice
OUTSIDE_LOGIT = -6.0  # of all that lies outside of the window


class RegionNetwork(nn.Module):
    """A network that finds the region in a coarse slice, and one that sees the region enlarged."""

    def __init__(self, coarse: nn.Module, fine: nn.Module) -> None:
        """Join two networks.

        Args:
            coarse: Gives logits of a slice of a part of the resolution.
            fine: Gives logits of the window.
        """
        super().__init__()
        self.coarse = coarse
        self.fine = fine

    def forward(self, image: Tensor) -> Tensor:
        """Map slices [B, M, H, W] to the logits of both networks [B, 2C, H, W], the fine first."""
        small = F.avg_pool2d(image, COARSENESS)
        padding = [(-side) % 4 for side in small.shape[-2:]]
        small = F.pad(small, (0, padding[1], 0, padding[0]))
        coarse = self.coarse(small)
        coarse = coarse[..., : image.shape[-2] // COARSENESS, : image.shape[-1] // COARSENESS]
        coarse = F.interpolate(coarse.float(), image.shape[-2:], mode="bilinear")
        found = (coarse.detach().sigmoid() > FOUND_FROM).any(dim=1)
        centre, side = windows(found)
        fine = paste(self.fine(enlarge(image, centre, side)), centre, side)
        return torch.cat((fine.float(), coarse), dim=1)


class AfterTwoStageFemur(SegmentationModule):
    """The second stage in two steps: a coarse look at a slice, and a fine one at what it shows.

    After W. Xie, P. Chen, Z. Li et al., "A two stage deep learning network for automated femoral
    segmentation in bilateral lower limb CT scans", Scientific Reports 15:9198, 2025, of which the
    abstract was read: a first network quickly delineates the region of interest, a second one
    segments the femur in it. Here the first one segments slices of half the resolution; a window
    around what it finds is enlarged to the size of the slice, and the second network sees only
    that. If nothing is found, it sees the whole slice. Both learn the targets at once.

    The README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterTwoStageFemur(spec.to_dict(), widths=(4, 8, 8))
        >>> module(torch.randn(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)).shape
        torch.Size([2, 1, 32, 32])
    """

    @staticmethod
    def build_network(
        data: DataSpec, encoder: str | None, channels: int, widths: Sequence[int]
    ) -> nn.Module:
        """Make both networks."""
        classes = len(data.classes)
        fine = segmentation_network(data, encoder, channels, widths, classes)
        return RegionNetwork(build_network(channels, classes, COARSE_WIDTHS), fine)

    def further_losses(
        self, maps: Tensor, target: Tensor, counted: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the loss of the coarse network, which learns the same targets."""
        coarse = maps[:, self.num_classes :]
        return {"region": self.mask_loss(coarse, target, counted, drawn_slices(batch))}


def windows(found: Tensor) -> tuple[Tensor, Tensor]:
    """Return the windows of slices that hold what was found in them, of the slices' own shape.

    Args:
        found: [B, H, W] bool.

    Returns:
        Centres [B, 2], x and y from -1 to 1; sides [B], of those of the slice, in (0, 1].

    Example:
        >>> found = torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> found[0, 0:2, 2:4] = True
        >>> centre, side = windows(found)
        >>> centre, side  # a window of 2.5 pixels that does not leave the slice
        (tensor([[-0.2500, -0.6875]]), tensor([0.3125]))
    """
    centres, sides = [], []
    for axis in (1, 2):  # columns, then rows
        any_ = found.any(dim=axis).float()
        length = any_.shape[1]
        first = any_.argmax(dim=1)
        last = length - any_.flip(1).argmax(dim=1)
        centres.append((first + last).float() / length - 1)
        sides.append((last - first).float() / length)
    side = (torch.stack(sides).amax(dim=0) * WINDOW_MARGIN).clamp(SMALLEST_WINDOW, 1)
    side = torch.where(found.flatten(1).any(dim=1), side, torch.ones_like(side))
    room = (1 - side)[:, None]
    return torch.stack(centres, dim=1).clamp(-room, room), side


def enlarge(image: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Return windows of slices [B, M, H, W], enlarged to the size of the slices."""
    return F.grid_sample(image, _grid(image, centre, side), "bilinear", "border", False)


def paste(window: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Return logits of windows [B, C, H, W] at their place in the slices.

    Outside they are :data:`OUTSIDE_LOGIT`.
    """
    grid = _grid(window, -centre / side[:, None], 1 / side)
    placed = F.grid_sample(window, grid, "bilinear", "border", align_corners=False)
    outside = (grid.abs() > 1).any(dim=3)
    return placed.masked_fill(outside[:, None], OUTSIDE_LOGIT)


def _grid(image: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return where each pixel of a view is taken from, [B, H, W, 2]."""
    matrix = torch.cat(
        (torch.eye(2, device=image.device) * scale[:, None, None], shift[:, :, None]), 2
    )
    return F.affine_grid(matrix, list(image.shape), align_corners=False).to(image.dtype)
