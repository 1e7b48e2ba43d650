"""A network for the features of a pretrained encoder: what each pixel shows, judged on its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.cam_network import (
    PRIOR_LOGIT,
    TOP_FRACTION,
    CamNetwork,
    CamOutput,
    top_mean,
)
from wsseg.models.encoders import Encoder

HIDDEN_WIDTH = 48  # channels of the hidden layers; others were not measured


class PixelNetwork(nn.Module):
    """Joins the levels of an encoder at one resolution and classifies every pixel of them.

    A decoder that merges levels by convolutions can move the evidence of a tag to wherever it likes
    in a picture; here a pixel's class depends on nothing but the encoder's features at its place.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        """Put the layers on an encoder.

        Args:
            encoder: Any encoder. Of several levels the finest is left out, since it knows texture
                only.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.encoder = encoder
        self.used = slice(min(1, len(encoder.widths) - 1), None)
        channels = sum(encoder.widths[self.used])
        self.standardise = nn.BatchNorm2d(channels, affine=False)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, HIDDEN_WIDTH, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HIDDEN_WIDTH, HIDDEN_WIDTH, 1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(HIDDEN_WIDTH, num_classes, 1)
        nn.init.constant_(self.head.bias, PRIOR_LOGIT)  # type: ignore[arg-type]

    def forward(self, image: Tensor, valid: Tensor) -> CamOutput:
        """Map a batch of slices; see :class:`~wsseg.models.cam_network.CamNetwork`.

        Args:
            image: Slices, [B, M, H, W].
            valid: Pixels that hold the body, [B, H, W] bool.
        """
        levels = self.encoder(image)[self.used]
        middle = levels[min(1, len(levels) - 1)].shape[-2:]
        joined = [_resized(level, middle) for level in levels]
        features = self.layers(self.standardise(torch.cat(joined, dim=1)))
        cam, features = (
            F.interpolate(each, image.shape[-2:], mode="bilinear", align_corners=False)
            for each in (self.head(features), features)
        )
        return CamOutput(cam, top_mean(cam, valid, TOP_FRACTION)[None], features)


def build_cam_network(encoder: Encoder, num_classes: int) -> CamNetwork | PixelNetwork:
    """Put the network on an encoder that suits it: without a decoder if its weights are fixed.

    Args:
        encoder: The encoder.
        num_classes: Number of tags C.

    Example:
        >>> from wsseg.models.encoders import UNetEncoder
        >>> type(build_cam_network(UNetEncoder(in_channels=2, widths=(8, 16)), 1)).__name__
        'CamNetwork'
    """
    if encoder.fixed:
        return PixelNetwork(encoder, num_classes)
    return CamNetwork(encoder, num_classes)


def _resized(level: Tensor, size: torch.Size) -> Tensor:
    """Bring a feature map to another height and width."""
    height, width = size
    if level.shape[-1] <= width:
        return F.interpolate(level, size, mode="bilinear", align_corners=False)
    if level.shape[-2:] == (2 * height, 2 * width):  # the same, and it can be exported to ONNX
        return F.avg_pool2d(level, 2)
    return F.adaptive_avg_pool2d(level, (height, width))
