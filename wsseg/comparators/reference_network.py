"""The network of the authors of CRS: a U-Net with two CAM heads, whose decoder reconstructs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.paired_maps import PairedHeads, PairedMaps

DEPTH = 5
HEAD_LEVELS = (2, 4)  # a quarter and a sixteenth of the resolution


class ReferenceOutput(NamedTuple):
    """What one pass of the network gives."""

    maps: PairedMaps
    """The CAM and the logits of its heads."""
    reconstruction: Tensor
    """One modality, [B, H, W] in [-1, 1]."""
    features: Tensor
    """The last features of the decoder, [B, D, H, W]."""


class ReferenceNetwork(nn.Module):
    """A U-Net of five levels after the authors' description and public code (JBHI 2023).

    Five blocks of width D to 16 D with batch normalisation and leaky rectifiers; transposed
    convolutions and skip connections on the way up; a last layer of one channel with tanh.
    """

    def __init__(self, num_modalities: int, num_classes: int, base_width: int = 64) -> None:
        """Build the network.

        Args:
            num_modalities: Number of modalities M.
            num_classes: Number of tags C; each has a pair of maps.
            base_width: Channels D of the finest level.
        """
        super().__init__()
        widths = [base_width * 2**level for level in range(DEPTH)]
        self.down = nn.ModuleList(
            _convolutions(before, after)
            for before, after in zip([num_modalities, *widths[:-1]], widths, strict=True)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_upsampling(coarse, fine) for coarse, fine in pairs)
        self.merge = nn.ModuleList(_convolutions(2 * fine, fine) for _, fine in pairs)
        self.last = nn.Conv2d(base_width, 1, 1)
        self.heads = PairedHeads([widths[level] for level in HEAD_LEVELS], num_classes)

    def forward(self, image: Tensor) -> ReferenceOutput:
        """Map slices [B, M, H, W], whose sides are multiples of 16."""
        levels: list[Tensor] = []
        for block in self.down:
            levels.append(block(F.max_pool2d(levels[-1], 2) if levels else image))
        maps = self.heads([levels[level] for level in HEAD_LEVELS], image.shape[-2:])
        features = levels[-1]
        for up, merge, skip in zip(self.up, self.merge, levels[-2::-1], strict=True):
            features = merge(torch.cat((skip, up(features)), dim=1))
        return ReferenceOutput(maps, torch.tanh(self.last(features))[:, 0], features)


def _convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.LeakyReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _upsampling(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_in, 3, stride=2, padding=1, output_padding=1),
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(inplace=True),
    )
