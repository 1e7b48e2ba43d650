"""The network that is trained on tags and shows where it found their evidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsseg.models.encoders import Decoder, Encoder

PRIOR_LOGIT = -2.0
"""First value of every head's bias: most pixels of most slices belong to no class."""

TOP_FRACTION = 0.025
"""Share of a slice's pixels whose mean logit is the logit of its tag."""


class CamOutput(NamedTuple):
    """The outputs of the CAM network."""

    cam: Tensor
    """Logits of the class activation maps, [B, C, H, W]."""
    slice_logits: Tensor
    """Logits of the tags, one set per head, [heads, B, C]."""
    features: Tensor
    """The decoder's features, from which the maps are made, [B, D, H, W]."""


class CamNetwork(nn.Module):
    """An encoder-decoder with one CAM head on the decoder and one on the deepest encoder level.

    The decoder's head gives the map, at the resolution of the image. Its tag logit is the mean of
    its highest pixels, so that a small lesion is not averaged away. The deepest level's head is
    pooled by its global average (Zhou et al., CVPR 2016): it sees the whole slice and drives the
    encoder towards the tag.

    Example:
        >>> from wsseg.models.encoders import UNetEncoder
        >>> network = CamNetwork(UNetEncoder(in_channels=2, widths=(8, 16)), num_classes=1)
        >>> output = network(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool))
        >>> output.cam.shape, output.slice_logits.shape
        (torch.Size([4, 1, 32, 32]), torch.Size([2, 4, 1]))
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
            valid: Pixels that hold the body, [B, H, W] bool.
        """
        levels = self.encoder(image)
        features = self.decoder(levels, image.shape[-2:])
        cam = self.fine_head(features)
        fine = top_mean(cam, valid, TOP_FRACTION)
        deep = self.deep_head(levels[-1]).mean(dim=(2, 3))
        return CamOutput(cam, torch.stack((fine, deep)), features)


def top_mean(maps: Tensor, valid: Tensor, fraction: float) -> Tensor:
    """Average over the highest pixels that hold the body.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0], [3.0, 9.0]]]])
        >>> valid = torch.tensor([[[True, True], [True, False]]])
        >>> top_mean(maps, valid, fraction=0.5)  # the mean of 3 and 2
        tensor([[2.5000]])

    Args:
        maps: Logits, [B, C, H, W].
        valid: Pixels that count, [B, H, W] bool.
        fraction: Share of the H x W pixels that is averaged (at least one pixel).

    Returns:
        [B, C]. A slice with fewer valid pixels than that averages those it has; a slice with
        none gives 0.
    """
    count = max(1, round(fraction * valid.shape[-2] * valid.shape[-1]))
    lowest = torch.finfo(maps.dtype).min
    pixels = maps.masked_fill(~valid[:, None], lowest).flatten(2)
    highest = pixels.topk(count, dim=2, sorted=False).values
    counts = highest > lowest
    wide = torch.promote_types(maps.dtype, torch.float32)  # sums may exceed what halves can hold
    mean = (highest * counts).sum(dim=2, dtype=wide) / counts.sum(dim=2).clamp_min(1)
    # Only where it is needed: a conversion would stay in an exported graph that needs no tags.
    return mean if mean.dtype == maps.dtype else mean.to(maps.dtype)
