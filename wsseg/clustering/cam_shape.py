"""The shape of class activation maps (CAM): what clusters teach without touching the tags."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

STEEPNESS = 8.0
"""Slope of the logits of a shape: at 0 and 1 they are minus and plus half of this, that is,
probabilities of 0.02 and 0.98."""


CAUTION = 4
"""Power of the clusters' confidence in a class by which its shape counts. Of a class with a colour
that clusters could not tell from others (confidence 0.55), 0.885 of the tags were right without the
callback, and 0.72, 0.77, 0.865 and 0.88 with the powers 0, 2, 4 and 6."""


def cam_shape(cam: Tensor) -> Tensor:
    """Shift and scale each map so that its mean is 0 and its maximum is 1.

    A classifier with global average pooling reads its class logits from the mean of each map, and
    the mean is what this takes away. Above 0.5 a pixel counts as part of the object.

    Args:
        cam: Logits, [B, C, h, w].

    Returns:
        [B, C, h, w]; 0 where all pixels of a map are the same.

    Example:
        >>> import torch
        >>> cam_shape(torch.tensor([[[[5.0, 1.0], [1.0, 1.0]]]])).flatten().tolist()
        [1.0, -0.3333333432674408, -0.3333333432674408, -0.3333333432674408]
    """
    mean = cam.mean(dim=(2, 3), keepdim=True)
    most = cam.amax(dim=(2, 3), keepdim=True)
    return (cam - mean) / (most - mean).clamp_min(1e-6)


def shape_loss(cam: Tensor, cluster_map: Tensor, confidence: Tensor) -> Tensor:
    """Pull the shape of the CAM to its cluster map: binary cross-entropy plus soft Dice.

    Neither the mean nor the scale of a map changes this loss, so that it does not pull at the class
    logits. Maps without a relevant pixel have no shape to learn and are left out; so are those of
    classes that a slice is not tagged with, of which the tag loss says everything.

    Args:
        cam: Logits, [B, C, h, w].
        cluster_map: Targets, 1, 0, or -1 to ignore, [B, C, H, W].
        confidence: How sure the clusters are of each class, from 0 to 1, [C].

    Returns:
        A scalar: the mean over all B * C maps, weighted by the confidence to the power ``CAUTION``;
        maps that are left out add 0.

    Example:
        >>> import torch
        >>> target, sure = torch.zeros(1, 1, 4, 4), torch.ones(1)
        >>> target[..., 1:3, 1:3] = 1
        >>> bool(shape_loss(target, target, sure) < shape_loss(-target, target, sure))
        True
    """
    cam = F.interpolate(cam.float(), cluster_map.shape[-2:], mode="bilinear", align_corners=False)
    logits = STEEPNESS * (cam_shape(cam) - 0.5)
    target = cluster_map.clamp(0, 1)
    some = (target > 0).any(dim=3).any(dim=2)
    counts = (cluster_map >= 0).to(cam.dtype)
    pixels = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    dims = (2, 3)
    entropy = (pixels * counts).sum(dims) / counts.sum(dims).clamp_min(1)
    activation = logits.sigmoid() * counts
    overlap = (activation * target).sum(dims)
    dice = (2 * overlap + 1) / (activation.sum(dims) + target.sum(dims) + 1)
    return ((entropy + 1 - dice) * some * confidence**CAUTION).mean()
