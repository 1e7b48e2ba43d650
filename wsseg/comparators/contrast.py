"""Supervised contrast, which pulls vectors of one label together and the others apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CONTRAST_TEMPERATURE = 0.1  # as Khosla et al. recommend


def supervised_contrast(embedding: Tensor, label: Tensor, counts: Tensor) -> Tensor:
    """Return the supervised contrastive loss (Khosla et al., NeurIPS 2020).

    Every vector is compared by its direction with all others. Those of its own label are to take
    the whole softmax.

    Example:
        >>> embedding, label = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> supervised_contrast(embedding, label, torch.ones(4, dtype=torch.bool)) < 1e-3
        tensor(True)

    Args:
        embedding: Vectors, [N, D].
        label: Their labels, [N].
        counts: Which vectors take part, [N] bool.

    Returns:
        A scalar, the mean over vectors that another one of their label takes part with; 0 if there
        is none.
    """
    direction = F.normalize(embedding.float(), dim=1)
    others = counts[None] & ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    likeness = (direction @ direction.T / CONTRAST_TEMPERATURE).masked_fill(~others, -1e4)
    share = likeness.log_softmax(dim=1)
    same = others & (label[None] == label[:, None])
    each = -(share * same).sum(dim=1) / same.sum(dim=1).clamp_min(1)
    anchors = counts & same.any(dim=1)
    return (each * anchors).sum() / anchors.sum().clamp_min(1)


def draw_pixels(features: Tensor, wanted: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw pixels of a batch at random, without waiting for the device.

    Args:
        features: [B, D, H, W].
        wanted: From where, [B, H, W] bool.
        count: How many; fewer count if there are fewer.

    Returns:
        Their features [n, D], and which of these are wanted [n] bool.
    """
    order = torch.rand(wanted.shape, device=wanted.device).mul_(wanted).flatten()
    place = order.topk(min(count, len(order)), sorted=False).indices
    return features.movedim(1, -1).flatten(0, 2)[place], wanted.flatten()[place]
