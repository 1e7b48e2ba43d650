"""The decoder: feature maps of an encoder become features at the resolution of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.encoders import conv_block


class MergeBlock(nn.ModuleList):
    """A ``conv_block`` on a level of an encoder and the coarser features under it."""

    def __init__(self, fine: int, coarse: int) -> None:
        """Build the layers.

        Args:
            fine: Channels of the level, and of the result.
            coarse: Channels of the coarser features.
        """
        super().__init__(conv_block(fine + coarse, fine))

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Merge a level [B, fine, h, w] with features [B, coarse, h / 2, w / 2]."""
        convolution, *others = self
        merged = convolve_upsampled(skip, coarse, cast(nn.Conv2d, convolution).weight)
        for layer in others:
            merged = layer(merged)
        return merged


class Decoder(nn.Module):
    """The expanding path of a U-Net, with skip connections and nearest-neighbour upsampling."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Build one block per skip connection.

        Args:
            widths: Channels of the encoder's levels, finest first.
        """
        super().__init__()
        self.blocks = nn.ModuleList(MergeBlock(fine, coarse) for fine, coarse in pairwise(widths))

    def forward(self, levels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Merge the levels from coarse to fine.

        Args:
            levels: The encoder's feature maps, finest first.
            size: Height and width of the image, reached by bilinear interpolation where the
                finest level is coarser.

        Returns:
            Features, [B, D, H, W], with D the width of the finest level.
        """
        features = levels[-1]
        for block, skip in zip(reversed(self.blocks), reversed(levels[:-1]), strict=True):
            features = block(skip, features)
        if features.shape[-2:] == torch.Size(size):
            return features
        return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def convolve_upsampled(skip: Tensor, coarse: Tensor, weight: Tensor) -> Tensor:
    """Convolve a map, and under it a coarser one that nearest-neighbour upsampling enlarges.

    Where it enlarges by exactly two, the coarser map is convolved as it is, transposed: what an
    upsampled pixel is multiplied with four times over, a pixel is multiplied with once. That takes
    a third to a half of the time on a CPU, forwards and backwards, and nothing is copied.

    Args:
        skip: [B, S, h, w].
        coarse: [B, C, about h / 2, about w / 2].
        weight: Of a 3x3 convolution without bias, [D, S + C, 3, 3].

    Returns:
        [B, D, h, w].
    """
    height, width = coarse.shape[-2:]
    if skip.shape[-2:] != (2 * height, 2 * width):
        upsampled = F.interpolate(coarse, size=skip.shape[-2:], mode="nearest")
        return F.conv2d(torch.cat((skip, upsampled), dim=1), weight, padding=1)
    of_skip, of_coarse = weight.split((skip.shape[1], coarse.shape[1]), dim=1)
    broad = F.conv_transpose2d(coarse, upsampling_kernel(of_coarse), stride=2, padding=1)
    return F.conv2d(skip, of_skip, padding=1) + broad


def upsampling_kernel(weight: Tensor) -> Tensor:
    """Return the transposed convolution that doubles a map and convolves it.

    Args:
        weight: Of a 3x3 convolution after nearest-neighbour upsampling by two, [D, C, 3, 3].

    Returns:
        The same for ``conv_transpose2d`` with a stride of 2 and a padding of 1, [C, D, 4, 4]: the
        two pixels that upsampling makes of one see its neighbours through shifted kernels.
    """
    turned = weight.flip(2, 3).transpose(0, 1)
    wide = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
    return F.pad(wide, (0, 0, 0, 1)) + F.pad(wide, (0, 0, 1, 0))
