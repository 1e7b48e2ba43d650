"""The network that reconstructs slices, whose features are the embeddings of pixels.

It reconstructs all modalities together; with masking it must also fill in patches of one modality
from the others and from their surroundings (Kuang et al., JBHI 2023, section III-B). It shares no
weights with the CAM network. With a shared encoder the tag losses would change the embeddings:
clusters would then show where tagged slices lie instead of what tissue looks like, and the cluster
maps would become worse from refresh to refresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.encoders import Decoder, UNetEncoder
from wsseg.utils.global_batch import drawn

PATCH = 4  # pixels, height and width of a masked patch, as in the paper


class ReconstructionNetwork(nn.Module):
    """A small U-Net that reconstructs every modality.

    Example:
        >>> network = ReconstructionNetwork(num_modalities=2, widths=(8, 16))
        >>> slices = torch.randn(1, 2, 32, 32)
        >>> network(slices).shape, network.embed(slices).shape
        (torch.Size([1, 2, 32, 32]), torch.Size([1, 8, 32, 32]))
    """

    def __init__(self, num_modalities: int, widths: Sequence[int] = (16, 32, 64)) -> None:
        """Build the network.

        Args:
            num_modalities: Number of modalities M.
            widths: Channels of each level, finest first; the first is the embedding's size D.
        """
        super().__init__()
        self.encoder = UNetEncoder(num_modalities, widths)
        self.decoder = Decoder(widths)
        self.head = nn.Conv2d(widths[0], num_modalities, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct slices, [B, M, H, W]."""
        reconstructed: Tensor = self.head(self.embed(image))
        return reconstructed

    def embed(self, image: Tensor) -> Tensor:
        """Return the embedding of every pixel, [B, D, H, W]: the last features of the decoder.

        Args:
            image: Slices, [B, M, H, W].
        """
        features: Tensor = self.decoder(self.encoder(image), image.shape[-2:])
        return features


def mask_patches(image: Tensor, ratio: float, modality: int | None = None) -> Tensor:
    """Set random patches of 4x4 pixels of one modality per slice to 0, the mean intensity.

    Example:
        >>> image = torch.ones(1, 2, 8, 8)
        >>> masked = mask_patches(image, ratio=1.0, modality=1)  # all patches of the second
        >>> [int(channel.sum()) for channel in masked[0]]
        [64, 0]

    Args:
        image: Normalised slices, [B, M, H, W].
        ratio: Chance of each patch to be masked.
        modality: Channel to mask, or None to draw one for each slice.

    Returns:
        A masked copy, [B, M, H, W].
    """
    batch, modalities, height, width = image.shape
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    masked = drawn(torch.rand, (batch, 1, rows, columns), device=image.device) < ratio
    masked = masked.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    if modality is None:
        target = drawn(partial(torch.randint, modalities), (batch,), device=image.device)
    else:
        target = torch.full((batch,), modality, device=image.device)
    channel = F.one_hot(target, modalities).bool()[:, :, None, None]
    return image.masked_fill(masked[:, :, :height, :width] & channel, 0.0)
