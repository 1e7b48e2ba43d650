"""Classes that contain each other: an enhancing tumour lies in its core, the core in the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def containers(classes: Mapping[str, Sequence[int]]) -> list[list[int]]:
    """List for each class the classes that contain it.

    Args:
        classes: The mask labels that make each class, in channel order.

    Returns:
        For each class the channels of those made of its labels and of others beside.
    """
    labels = [set(each) for each in classes.values()]
    return [[k for k, other in enumerate(labels) if own < other] for own in labels]


def nest(probability: Tensor, inside: Sequence[Sequence[int]]) -> Tensor:
    """Make no class more probable than those that contain it.

    Args:
        probability: [B, C, H, W].
        inside: For each class the channels of those that contain it, from :func:`containers`.

    Returns:
        [B, C, H, W]. Masks above any threshold then lie in each other.
    """
    if not any(inside):
        return probability
    nested = [
        probability[:, [channel, *others]].amin(dim=1) for channel, others in enumerate(inside)
    ]
    return torch.stack(nested, dim=1)
