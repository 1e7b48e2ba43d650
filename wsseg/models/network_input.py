"""What networks see of slices: the modalities and, for symmetric organs, their asymmetry."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from wsseg.clustering import asymmetry
from wsseg.data.spec import Batch, DataSpec
from wsseg.utils.global_batch import drawn

SHOWN = 0.5  # chance of a training slice to show its asymmetry


def sees_asymmetry(spec: DataSpec, symmetry: bool | None) -> bool:
    """Return whether networks see the asymmetry of slices.

    Args:
        spec: The data specification; sagittal slices show one side only.
        symmetry: Whether they are asked to; None if the plan of the data is to say so.
    """
    wanted = spec.plan.symmetric if symmetry is None else symmetry
    return wanted and spec.axis != "sagittal"


def input_channels(spec: DataSpec, symmetry: bool | None) -> int:
    """Return the number of channels that networks see: M, or 3M with the asymmetry.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (64, 64))
        >>> input_channels(spec, symmetry=True)
        6
    """
    return (3 if sees_asymmetry(spec, symmetry) else 1) * len(spec.modalities)


def with_asymmetry(batch: Batch) -> Batch:
    """Return a training batch with its ``asymmetry`` [B, 2M, H, W], which is 0 in half the slices.

    Call it before augmentation, which then moves the asymmetry along: in a rotated slice the line
    between the sides is no longer upright. The slices without it keep the network from relying on
    the asymmetry where the image itself shows the lesion.
    """
    image, valid = batch["image"], batch["valid"]
    count, modalities, height, width = image.shape
    # Drawn on the CPU, so that their number is known without waiting for a GPU.
    chosen = (drawn(torch.rand, (count,)) < SHOWN).nonzero()[:, 0]
    shown = chosen.to(image.device, non_blocking=True)
    found = image.new_zeros(count, 2 * modalities, height, width)
    found[shown] = asymmetry(image[shown], valid[shown])
    return cast(Batch, {**batch, "asymmetry": found})


def batch_input(batch: Batch) -> Tensor:
    """Return the slices of a batch with what it has of their asymmetry, [B, M or 3M, H, W]."""
    return join(batch["image"], batch.get("asymmetry"))


def slice_input(image: Tensor, valid: Tensor, symmetric: bool) -> Tensor:
    """Return what a network sees of slices that no augmentation has changed.

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
