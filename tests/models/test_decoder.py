from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from wsseg.models.decoder import convolve_upsampled


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (8, 13), (2, 2)])
def test_it_is_a_convolution_of_the_upsampled_map(size: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(0)
    skip = torch.randn(2, 3, *size, generator=draw, dtype=torch.double)
    coarse = torch.randn(2, 5, size[0] // 2, size[1] // 2, generator=draw, dtype=torch.double)
    weight = torch.randn(4, 8, 3, 3, generator=draw, dtype=torch.double)
    inputs = [each.requires_grad_() for each in (skip, coarse, weight)]

    upsampled = F.interpolate(coarse, size=size, mode="nearest")
    theirs = F.conv2d(torch.cat((skip, upsampled), dim=1), weight, padding=1)
    ours = convolve_upsampled(skip, coarse, weight)

    assert torch.allclose(ours, theirs)
    slopes = torch.randn(ours.shape, generator=draw, dtype=torch.double)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, slopes),
        torch.autograd.grad(theirs, inputs, slopes),
        strict=True,
    ):
        assert torch.allclose(mine, other)
