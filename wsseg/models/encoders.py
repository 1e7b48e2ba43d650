"""Encoders, which make feature maps of falling resolution, and the decoder that merges these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.data.normalisation import Scale
from wsseg.data.spec import DataSpec
from wsseg.models.conv_block import ConvBlock
from wsseg.utils.errors import InputError, check_option


class Encoder(nn.Module):
    """The base of all encoders: a network that makes one feature map per level.

    Attributes:
        widths: Channels of each level, finest first.
        fixed: Whether its weights stay as they are. Then each pixel is classified by what the
            encoder says of it, and no reconstruction network is built.
    """

    widths: tuple[int, ...]
    fixed: ClassVar[bool] = False

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return one feature map per level, finest first.

        Args:
            image: Slices, [B, M, H, W].
        """
        raise NotImplementedError


class UNetEncoder(Encoder):
    """The contracting path of a U-Net: the first level has the resolution of the image.

    Example:
        >>> encoder = UNetEncoder(in_channels=2, widths=(8, 16))
        >>> [level.shape for level in encoder(torch.randn(1, 2, 32, 32))]
        [torch.Size([1, 8, 32, 32]), torch.Size([1, 16, 16, 16])]
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        """Build one block per width; each level halves the resolution of the one before.

        Args:
            in_channels: Channels of the image.
            widths: Channels of each level, finest first.
        """
        super().__init__()
        self.widths = tuple(widths)
        inputs = (in_channels, *self.widths[:-1])
        self.blocks = nn.ModuleList(
            ConvBlock(channels, width) for channels, width in zip(inputs, self.widths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Encoder.forward`; level i has 1/2^i of the resolution."""
        # Channels last: convolutions take a quarter less time on a CPU, and it suits tensor cores.
        features = image.contiguous(memory_format=torch.channels_last)
        levels = []
        for depth, block in enumerate(self.blocks):
            features = block(F.max_pool2d(features, 2) if depth else features)
            levels.append(features)
        return levels


class ResNetEncoder(Encoder):
    """MONAI's ResNet, without pre-trained weights; the first level has 1/2 of the resolution."""

    def __init__(self, in_channels: int, name: str = "resnet18") -> None:
        """Build the network.

        Args:
            in_channels: Channels of the image.
            name: One of MONAI's names, "resnet10" to "resnet200".
        """
        from monai.networks.nets.resnet import ResNetEncoder as MonaiEncoder
        from monai.networks.nets.resnet import ResNetFeatures

        super().__init__()
        self.backbone = ResNetFeatures(
            name, pretrained=False, spatial_dims=2, in_channels=in_channels
        )
        position = MonaiEncoder.get_encoder_names().index(name)
        channels = MonaiEncoder.num_channels_per_output()[position]
        self.widths = tuple(int(width) for width in channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Encoder.forward`; level i has 1/2^(i+1) of the resolution."""
        return cast("list[Tensor]", self.backbone(image))


class GridEncoder(Encoder):
    """Passes images on: those of compressed pictures are features of a fixed encoder already.

    Example:
        >>> [level.shape for level in GridEncoder(115)(torch.randn(1, 115, 32, 32))]
        [torch.Size([1, 115, 32, 32])]
    """

    fixed = True

    def __init__(self, in_channels: int) -> None:
        """Note the number of channels.

        Args:
            in_channels: Channels of the image.
        """
        super().__init__()
        self.widths = (in_channels,)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Encoder.forward`."""
        return [image]


class Decoder(nn.Module):
    """The expanding path of a U-Net, with skip connections and nearest-neighbour upsampling.

    Example:
        >>> levels = [torch.randn(1, 8, 32, 32), torch.randn(1, 16, 16, 16)]  # of an encoder
        >>> Decoder((8, 16))(levels, (32, 32)).shape
        torch.Size([1, 8, 32, 32])
    """

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


def build_encoder(
    name: str,
    in_channels: int,
    widths: Sequence[int],
    size: Sequence[int],
    scales: Sequence[Scale] = (),
) -> Encoder:
    """Make an encoder by name.

    Example:
        >>> build_encoder("unet", 2, widths=(8, 16, 32), size=(64, 64)).widths
        (8, 16, 32)

    Args:
        name: A key of :data:`ENCODERS`.
        in_channels: Number of input channels.
        widths: Channels of each level, for encoders of free width.
        size: Height and width of slices.
        scales: How the intensities of each channel were scaled, ``spec.plan.scales``, which the
            "pretrained" encoder undoes.

    Raises:
        InputError: There is no encoder of that name, or a "unet" has more levels than slices can
            be halved for.
    """
    if name not in ENCODERS:
        raise InputError(
            f"--model.encoder {name}: unknown; choose one of {', '.join(ENCODERS)}, or run a "
            "script that registers it"
        )
    if name == "unet":
        check_levels("--model.widths", widths, size)
    if ENCODERS[name] is _pretrained:
        return _pretrained(in_channels, widths, scales)
    return ENCODERS[name](in_channels, widths)


def usual_encoder(spec: DataSpec) -> str:
    """Name the encoder that is used unless another is asked for.

    Args:
        spec: The data specification: pictures have an encoder that knows photographs, and those
            that one has compressed need none.
    """
    if spec.cell is not None:
        return "grid"
    return "pretrained" if spec.of_pictures else "unet"


def check_levels(name: str, widths: Sequence[int], size: Sequence[int]) -> None:
    """Refuse more levels than slices can be halved for.

    Args:
        name: The option, for the message.
        widths: Channels of each level, which has half the resolution of the one before.
        size: Height and width of slices.

    Raises:
        InputError: There is no level, or the last one would have no pixels.
    """
    if not widths:
        raise InputError(f"{name}: is empty; give the channels of each level")
    check_option(min(widths) > 0, name.removeprefix("--"), min(widths), "at least 1")
    most = min(size).bit_length()
    if len(widths) > most:
        height, width = size
        raise InputError(
            f"{name}: slices of {height} x {width} pixels have room for {most} levels; give at most"
            f" that many numbers of channels, not {len(widths)}"
        )


def _pretrained(channels: int, _: Sequence[int], scales: Sequence[Scale] = ()) -> Encoder:
    from wsseg.models.pretrained import PretrainedEncoder

    return PretrainedEncoder(channels, scales)


ENCODERS: dict[str, Callable[[int, Sequence[int]], Encoder]] = {
    "unet": UNetEncoder,
    "resnet10": lambda channels, _: ResNetEncoder(channels, "resnet10"),
    "resnet18": lambda channels, _: ResNetEncoder(channels, "resnet18"),
    "resnet34": lambda channels, _: ResNetEncoder(channels, "resnet34"),
    "resnet50": lambda channels, _: ResNetEncoder(channels, "resnet50"),
    "pretrained": _pretrained,
    "grid": lambda channels, _: GridEncoder(channels),
}
"""Encoders by name. Add your own with ``ENCODERS["mine"] = lambda channels, widths: ...``."""
