"""What networks see of slices: the modalities and, for symmetric organs, their asymmetry."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from wsseg.clustering import asymmetry
from wsseg.data.spec import Batch, DataSpec

SHOWN = 0.5


def shows_both_sides(spec: DataSpec) -> bool:
    """Return whether slices have a left and a right side."""
    return spec.axis != "sagittal"


def input_channels(spec: DataSpec, symmetric: bool) -> int:
    """Return the channels of :func:`slice_input`: M, or 3M with the asymmetry."""
    return (3 if symmetric else 1) * len(spec.modalities)


def with_asymmetry(batch: Batch) -> Batch:
    """Return a training batch with its ``asymmetry`` [B, 2M, H, W], which half of the slices show.

    To be taken before augmentation, which moves it along: in a rotated view the line between the
    sides is no longer upright. The other half of the slices keep the network from relying on it
    where the image itself shows the lesion.
    """
    image, valid = batch["image"], batch["valid"]
    count, modalities, height, width = image.shape
    # Drawn on the CPU: which they are is known without waiting for a GPU.
    drawn = (torch.rand(count) < SHOWN).nonzero()[:, 0]
    shown = drawn.to(image.device, non_blocking=True)
    found = image.new_zeros(count, 2 * modalities, height, width)
    found[shown] = asymmetry(image[shown], valid[shown])
    return cast(Batch, {**batch, "asymmetry": found})


def batch_input(batch: Batch) -> Tensor:
    """Return the slices of a batch with what it has of their asymmetry, [B, M or 3M, H, W]."""
    return join(batch["image"], batch.get("asymmetry"))


def slice_input(image: Tensor, valid: Tensor, symmetric: bool) -> Tensor:
    """Return what a network sees of slices that nothing has moved.

    Args:
        image: [B, M, H, W].
        valid: [B, H, W] bool.
        symmetric: Whether it sees the asymmetry.

    Returns:
        [B, M, H, W], or [B, 3M, H, W] with the asymmetry.
    """
    return join(image, asymmetry(image, valid) if symmetric else None)


def join(image: Tensor, sides: Tensor | None) -> Tensor:
    """Return slices [B, M, H, W] with their asymmetry [B, 2M, H, W], if it is given."""
    return image if sides is None else torch.cat((image, sides), dim=1)
