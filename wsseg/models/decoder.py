"""The decoder: feature maps of an encoder become features at the resolution of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.conv_block import ConvBlock


class Decoder(nn.Module):
    """The expanding path of a U-Net, with skip connections and nearest-neighbour upsampling."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Build one block per skip connection.

        Args:
            widths: Channels of the encoder's levels, finest first.
        """
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvBlock(fine + coarse, fine) for fine, coarse in pairwise(widths)
        )

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
