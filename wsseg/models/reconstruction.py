"""Self-supervised inter-modality reconstruction: where the pixel embeddings come from.

The network reconstructs all modalities together; with masking it must also fill in patches of one
modality from the others and from their surroundings (Kuang et al., JBHI 2023, section III-B). It
shares no weights with the CAM network: with a shared encoder the tag losses reach the embeddings,
clusters then show where tagged slices lie instead of what tissue looks like, and the cluster maps
decay from refresh to refresh.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.decoder import Decoder
from wsseg.models.encoders import UNetEncoder


class ReconstructionNetwork(nn.Module):
    """A small U-Net that reconstructs every modality."""

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


def mask_patches(
    image: Tensor, ratio: float, patch_size: int, modality: int | None = None
) -> Tensor:
    """Set random square patches of one modality per slice to 0, the mean intensity.

    Args:
        image: Normalised slices, [B, M, H, W].
        ratio: Chance of each patch to be masked.
        patch_size: Side of a patch in pixels.
        modality: Channel to mask, or None to draw one for each slice.

    Returns:
        A masked copy, [B, M, H, W].
    """
    batch, modalities, height, width = image.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    masked = torch.rand(batch, 1, rows, columns, device=image.device) < ratio
    masked = masked.repeat_interleave(patch_size, 2).repeat_interleave(patch_size, 3)
    if modality is None:
        target = torch.randint(modalities, (batch,), device=image.device)
    else:
        target = torch.full((batch,), modality, device=image.device)
    channel = F.one_hot(target, modalities).bool()[:, :, None, None]
    return image.masked_fill(masked[:, :, :height, :width] & channel, 0.0)


def modality_channel(name: str, modalities: Sequence[str]) -> int:
    """Return the channel of the modality that is masked.

    Args:
        name: The ``target_modality`` of a module.
        modalities: Those of the data, in channel order.

    Raises:
        ValueError: The data has no such modality.
    """
    if name not in modalities:
        raise ValueError(
            f"--model.target_modality {name}: is not in the data; choose one of "
            f"{', '.join(modalities)}"
        )
    return list(modalities).index(name)
