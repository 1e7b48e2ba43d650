"""The training losses, as pure functions of the batches of all processes. None sees a mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.utils.global_batch import total


def classification_loss(slice_logits: Tensor, tags: Tensor) -> Tensor:
    """Binary cross-entropy of the tag logits of all heads.

    Example:
        >>> classification_loss(torch.zeros(2, 4, 1), torch.ones(4, 1))  # ln 2
        tensor(0.6931)

    Args:
        slice_logits: [heads, B, C].
        tags: [B, C], 0 or 1; NaN where unknown, which counts nothing.
    """
    known = (~tags.isnan()).expand_as(slice_logits)
    target = tags.nan_to_num(0.0).expand_as(slice_logits)
    weight = known.to(slice_logits.dtype)
    mean = F.binary_cross_entropy_with_logits(slice_logits, target, weight)
    # A factor of exactly 1 where all are known: the loss is then the mean to the last digit.
    return total(mean) * (weight.numel() / total(weight.sum()).clamp_min(1))


def suppression_loss(cam: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Mean activation of a class over the slices whose tag excludes it.

    An untagged slice is the one place where tags say something about every pixel.

    Example:
        >>> cam, valid = torch.zeros(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
        >>> suppression_loss(cam, valid, tags=torch.tensor([[1.0], [0.0]]))
        tensor(0.5000)

    Args:
        cam: Logits, [B, C, H, W].
        valid: [B, H, W] bool.
        tags: [B, C], 0, 1, or NaN where unknown.

    Returns:
        A scalar in [0, 1]; 0 when no slice is without a tag.
    """
    counts = valid[:, None] * (1 - tags).nan_to_num(0.0)[:, :, None, None]
    return total((torch.sigmoid(cam) * counts).sum()) / total(counts.sum()).clamp_min(1)


def cluster_loss(cam: Tensor, valid: Tensor, cluster_map: Tensor) -> Tensor:
    """Pull the CAM to its cluster map: binary cross-entropy plus soft Dice, per class.

    Dice (Milletari et al., 3DV 2016) keeps a small lesion from drowning in background. It is left
    out for a class that has no relevant pixel in the batch: there it would only push the CAM to 0.

    Example:
        >>> cam, valid = torch.full((1, 1, 8, 8), 20.0), torch.ones(1, 8, 8, dtype=torch.bool)
        >>> cluster_loss(cam, valid, cluster_map=torch.ones(1, 1, 8, 8)).round(decimals=4)
        tensor(0.)

    Args:
        cam: Logits, [B, C, H, W].
        valid: [B, H, W] bool.
        cluster_map: Targets in [0, 1], -1 to ignore, [B, C, H, W].

    Returns:
        A scalar, the mean over classes.
    """
    counts = (valid[:, None] & (cluster_map >= 0)).to(cam.dtype)
    target = cluster_map.clamp(0, 1)
    pixels = F.binary_cross_entropy_with_logits(cam, target, reduction="none")
    dims = (0, 2, 3)
    entropy = total((pixels * counts).sum(dims)) / total(counts.sum(dims)).clamp_min(1)
    activation, relevant = torch.sigmoid(cam) * counts, target * counts
    overlap, of_class = total((activation * relevant).sum(dims)), total(relevant.sum(dims))
    dice = (2 * overlap + 1) / (total(activation.sum(dims)) + of_class + 1)
    return (entropy + (1 - dice) * (of_class > 0)).mean()


def reconstruction_loss(reconstruction: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute error over the pixels of the body and the modalities.

    Args:
        reconstruction: [B, M, H, W].
        image: [B, M, H, W].
        valid: [B, H, W] bool.
    """
    counts = valid[:, None].expand_as(image)
    error = ((reconstruction - image).abs() * counts).sum()
    return total(error) / total(counts.sum()).clamp_min(1)
