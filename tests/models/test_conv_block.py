from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wsseg.models.conv_block import ConvBlock, can_fold, convolve_upsampled


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


@pytest.mark.parametrize("coarse", [False, True])
def test_evaluation_is_that_of_the_layers_one_after_the_other(coarse: bool) -> None:
    torch.manual_seed(0)
    block = ConvBlock(8 if coarse else 3, 4).double()
    for norm in (block[1], block[4]):
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.data.normal_()
        norm.running_var.uniform_(0.1, 3)
    fine = torch.randn(2, 3, 8, 12, dtype=torch.double)
    under = [torch.randn(2, 5, 4, 6, dtype=torch.double)] if coarse else []
    upsampled = [F.interpolate(each, scale_factor=2.0) for each in under]
    block.eval()
    expected = torch.cat((fine, *upsampled), dim=1)
    for layer in block:
        expected = layer(expected)
    assert torch.allclose(block(fine, *under), expected)
    with torch.no_grad():  # the normalisation is in the weights
        assert torch.allclose(block(fine, *under), expected)


def test_training_moves_the_running_statistics_and_evaluation_does_not() -> None:
    torch.manual_seed(0)
    block, maps = ConvBlock(3, 4), torch.randn(2, 3, 8, 12)
    block.eval()(maps)
    assert not block[1].running_mean.any()
    block.train()(maps)
    assert block[1].running_mean.all()
    assert block[4].running_mean.all()


def test_whoever_looks_into_the_layers_sees_them_at_work() -> None:
    block, maps, seen = ConvBlock(3, 4).eval(), torch.randn(2, 3, 8, 12), []
    block[0].register_forward_hook(lambda *_: seen.append("convolution"))
    block[4].register_forward_hook(lambda *_: seen.append("normalisation"))
    with torch.no_grad():
        block(maps)
    assert seen == ["convolution", "normalisation"]


@pytest.mark.parametrize("norm", [nn.Identity(), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)])
def test_other_layers_in_its_place(norm: nn.Module) -> None:
    block, maps = ConvBlock(3, 4), torch.randn(2, 3, 8, 12, dtype=torch.double)
    block[1] = norm
    expected = block.double().eval()(maps)
    with torch.no_grad():
        assert torch.allclose(block(maps), expected)


def test_in_lower_precision_layers_are_rounded_one_by_one() -> None:
    block, maps = ConvBlock(3, 4).eval(), torch.randn(2, 3, 8, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert not can_fold(block[0], block[1])
        expected = maps
        for layer in block:
            expected = layer(expected)
        assert torch.equal(block(maps), expected)
