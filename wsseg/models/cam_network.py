"""The network that is trained on tags and shows where it found their evidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsseg.models.decoder import Decoder
from wsseg.models.encoders import Encoder
from wsseg.models.pooling import top_mean

PRIOR_LOGIT = -2.0
"""Start of every head's bias: most pixels of most slices are not tumour."""

TOP_FRACTION = 0.025
"""Share of a slice's pixels whose mean is its tag logit."""


class CamOutput(NamedTuple):
    """What one pass of the CAM network gives."""

    cam: Tensor
    """Logits of the class activation maps, [B, C, H, W]."""
    slice_logits: Tensor
    """Logits of the tags, one set per head, [heads, B, C]."""
    features: Tensor
    """The features under the maps, [B, D, H, W]."""


class CamNetwork(nn.Module):
    """An encoder-decoder with one CAM head on the decoder and one on the deepest encoder level.

    The decoder's head gives the map, at the resolution of the image. Its tag logit is the mean of
    its highest pixels, so that a small lesion is not averaged away. The deepest level's head is
    pooled by its global average (Zhou et al., CVPR 2016): it sees the whole slice and drives the
    encoder towards the tag.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        """Put decoder and heads on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.widths)
        self.fine_head = nn.Conv2d(encoder.widths[0], num_classes, 1)
        self.deep_head = nn.Conv2d(encoder.widths[-1], num_classes, 1)
        for head in (self.fine_head, self.deep_head):
            nn.init.constant_(head.bias, PRIOR_LOGIT)  # type: ignore[arg-type]

    def forward(self, image: Tensor, valid: Tensor) -> CamOutput:
        """Map a batch of slices.

        Args:
            image: Slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.
        """
        levels = self.encoder(image)
        features = self.decoder(levels, image.shape[-2:])
        cam = self.fine_head(features)
        fine = top_mean(cam, valid, TOP_FRACTION)
        deep = self.deep_head(levels[-1]).mean(dim=(2, 3))
        return CamOutput(cam, torch.stack((fine, deep)), features)
