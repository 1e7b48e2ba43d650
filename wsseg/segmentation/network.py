"""The segmentation networks: one that learns from nothing, one that builds on a fixed encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from wsseg.models.encoders import Decoder, Encoder
from wsseg.utils.errors import InputError


class DecoderNetwork(nn.Module):
    """A decoder on an encoder, with the logits of the classes at the resolution of the image.

    Example:
        >>> import torch
        >>> from wsseg.models.encoders import UNetEncoder
        >>> network = DecoderNetwork(UNetEncoder(in_channels=3, widths=(4, 8)), num_classes=1)
        >>> network(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        """Put a decoder and a head on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of classes C.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.widths)
        self.head = nn.Conv2d(encoder.widths[0], num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map slices [B, M, H, W] to logits [B, C, H, W]."""
        logits: Tensor = self.head(self.decoder(self.encoder(image), image.shape[-2:]))
        return logits


def build_network(modalities: int, classes: int, widths: Sequence[int]) -> nn.Module:
    """Make MONAI's version of nnU-Net's network (Isensee et al., Nature Methods 2021).

    Strided convolutions go down, so the costly finest level has few of them. Batch normalisation,
    unlike nnU-Net's instance normalisation, keeps how bright a slice is within its volume, and is
    the faster one on a CPU.

    Example:
        >>> import torch
        >>> build_network(2, 1, widths=(4, 8, 8))(torch.randn(1, 2, 32, 32)).shape
        torch.Size([1, 1, 32, 32])

    Args:
        modalities: Channels of the image.
        classes: Channels of the logits.
        widths: Channels of each level, finest first.

    Returns:
        A network [B, modalities, H, W] -> logits [B, classes, H, W]; H and W must be multiples of
        two to the power of the number of levels less one.

    Raises:
        InputError: There are fewer than 3 levels, or more than slices can be halved for.
    """
    levels = len(widths)
    if not 3 <= levels <= 5 or min(widths) < 1:  # slices have multiples of 16 pixels
        raise InputError(f"--model.widths {list(widths)}: must be 3 to 5 numbers of channels")
    from monai.networks.nets.dynunet import DynUNet

    return DynUNet(
        spatial_dims=2,
        in_channels=modalities,
        out_channels=classes,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(widths),
        norm_name="batch",
    )
