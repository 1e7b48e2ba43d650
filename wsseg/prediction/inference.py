"""Runs a module over the slices of one case."""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.models.slice_module import SliceModule
from wsseg.utils.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device to predict on.

    Args:
        name: "auto" for the first accelerator there is, or a device as torch names it.

    Raises:
        InputError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"--device {name}: is not available here; use auto or cpu") from None


def predict_slices(module: SliceModule, image: Tensor, valid: Tensor, batch_size: int) -> Tensor:
    """Return the probability of every class in every slice.

    Args:
        module: Module in evaluation mode, on the device to use.
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.
        batch_size: Slices per forward pass.

    Returns:
        [S, C, H, W] float32 on the CPU.
    """
    parts = []
    with torch.inference_mode():
        batches = zip(image.split(batch_size), valid.split(batch_size), strict=True)
        for pixels, inside in batches:
            probability = module(
                pixels.to(module.device, torch.float32, non_blocking=True),
                inside.to(module.device, non_blocking=True),
            )
            parts.append(probability.float().cpu())
    return torch.cat(parts)
