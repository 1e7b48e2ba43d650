"""The block that U-Nets are made of."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and a leaky rectifier.

    MONAI's blocks would do the same more slowly on a CPU, for two reasons. They copy the upsampled
    map, see :func:`convolve_upsampled`. And they normalise as a step of its own, where in
    evaluation a normalisation multiplies and shifts channels by fixed numbers: on a CPU the weights
    of the convolution take these over here, so that every map is read and written once less, and a
    U-Net takes a tenth less time. (A GPU would launch more kernels for that than it saves.)

    Example:
        >>> block = ConvBlock(8 + 16, 8)
        >>> block(torch.randn(1, 8, 32, 32), coarse=torch.randn(1, 16, 16, 16)).shape
        torch.Size([1, 8, 32, 32])
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        """Build the layers.

        Args:
            channels_in: Channels of the input.
            channels_out: Channels of the result.
        """
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers)

    def forward(self, features: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Convolve a map, or a level of an encoder together with coarser features.

        Args:
            features: [B, S, h, w].
            coarse: Features that are upsampled and appended, [B, C, about h / 2, about w / 2];
                S + C are then the channels of the input.

        Returns:
            [B, D, h, w].
        """
        layers = iter(self)
        for convolution, norm, rectify in zip(layers, layers, layers, strict=True):
            weight = cast(nn.Conv2d, convolution).weight
            if features.is_cpu and can_fold(convolution, norm):
                features = convolve(features, coarse, *fold(weight, cast(nn.BatchNorm2d, norm)))
            elif coarse is None:
                features = norm(convolution(features))
            else:
                features = norm(convolve(features, coarse, weight))
            features, coarse = rectify(features), None
        return features


def can_fold(convolution: nn.Module, norm: nn.Module) -> bool:
    """Return whether a convolution may do what the normalisation after it does.

    It may not if anybody wants to see what is between the two: hooks of tools that explain, prune
    or count, or gradients. In lower precision it would round differently.

    Args:
        convolution: The first layer.
        norm: The second layer, usually a batch normalisation.
    """
    if norm.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    hooks = (each._forward_hooks or each._forward_pre_hooks for each in (convolution, norm))
    known = isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm) and norm.running_var is not None
    return known and convolution.bias is None and not any(hooks)


def fold(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weights and bias of one convolution that convolves and normalises, in evaluation.

    Args:
        weight: Weights of a convolution without bias, [D, C, 3, 3].
        norm: The batch normalisation that follows, of D channels.

    Returns:
        [D, C, 3, 3] and [D].
    """
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return weight * scale[:, None, None, None], norm.bias - mean * scale


def convolve(
    features: Tensor, coarse: Tensor | None, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolve one map, or two of which the second is coarser (:func:`convolve_upsampled`)."""
    if coarse is None:
        return F.conv2d(features, weight, bias, padding=1)
    return convolve_upsampled(features, coarse, weight, bias)


def convolve_upsampled(
    skip: Tensor, coarse: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolve a map together with a coarser one, which nearest-neighbour upsampling enlarges.

    Where the coarser map has exactly half the size, no upsampled copy is made: a transposed
    convolution with the sums of the weights that meet the same coarse pixel does the same. That
    takes a third to a half of the time on a CPU, forwards and backwards.

    Args:
        skip: [B, S, h, w].
        coarse: [B, C, about h / 2, about w / 2].
        weight: Weights of a 3x3 convolution, [D, S + C, 3, 3].
        bias: Its bias, [D], if it has one.

    Returns:
        [B, D, h, w].
    """
    height, width = coarse.shape[-2:]
    # A graph that is exported must hold for slices of every size.
    if torch.compiler.is_exporting() or skip.shape[-2:] != (2 * height, 2 * width):
        upsampled = F.interpolate(coarse, size=skip.shape[-2:], mode="nearest")
        return F.conv2d(torch.cat((skip, upsampled), dim=1), weight, bias, padding=1)
    of_skip, of_coarse = weight.split((skip.shape[1], coarse.shape[1]), dim=1)
    broad = F.conv_transpose2d(coarse, upsampling_kernel(of_coarse), stride=2, padding=1)
    return F.conv2d(skip, of_skip, bias, padding=1) + broad


def upsampling_kernel(weight: Tensor) -> Tensor:
    """Return the weights of a transposed convolution that upsamples a map by two and convolves it.

    Args:
        weight: Weights of the 3x3 convolution that follows the upsampling, [D, C, 3, 3].

    Returns:
        Weights for ``conv_transpose2d`` with a stride of 2 and a padding of 1, [C, D, 4, 4]: sums
        of the kernel and of the kernel shifted by one pixel, since upsampling makes two pixels of
        one in each direction.
    """
    turned = weight.flip(2, 3).transpose(0, 1)
    wide = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
    return F.pad(wide, (0, 0, 0, 1)) + F.pad(wide, (0, 0, 1, 0))
