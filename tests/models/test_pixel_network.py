"""The network for pretrained features: every pixel is judged on its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.models.encoders import Encoder
from wsseg.models.pixel_network import PixelNetwork


class Averages(Encoder):
    """Levels that are averages of the image at falling resolution."""

    widths = (2, 2, 2, 2)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(image, 2**depth) for depth in (1, 2, 3, 4)]


def test_a_pixel_depends_on_its_surroundings_only() -> None:
    network = PixelNetwork(Averages(), num_classes=3).eval()
    image, valid = torch.randn(1, 2, 64, 64), torch.ones(1, 64, 64, dtype=torch.bool)
    before = network(image, valid)
    image[..., :16, :16] += 5
    after = network(image, valid)
    assert before.cam.shape == (1, 3, 64, 64)
    assert before.slice_logits.shape == (1, 1, 3)
    changed = (before.cam != after.cam).any(dim=1)[0]
    assert changed[:16, :16].any()
    assert not changed[48:, 48:].any()


def test_only_the_head_and_its_layers_learn() -> None:
    network = PixelNetwork(Averages(), num_classes=1)
    output = network(torch.randn(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool))
    output.slice_logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
