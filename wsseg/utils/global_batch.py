"""What several processes draw and sum as one process would for the batches of all together.

The training loader deals out slices in turn, so that row r of a batch of all belongs to process r
modulo their number. With a single process every function does what torch does, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """Return how many processes train together."""
    started = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if started else 1


def drawn(draw: Callable[..., Tensor], shape: tuple[int, ...], **options: Any) -> Tensor:
    """Draw for the slices of all processes, and return what is drawn for those of this one.

    A slice is then changed in the same way in whichever process it lies, if all processes have the
    same seed and equally many slices.

    Args:
        draw: Draws a tensor of a shape, as ``torch.rand`` does.
        shape: Shape of what this process needs, [B, ...].
        **options: Further arguments of ``draw``.

    Example:
        >>> drawn(torch.rand, (2, 3), device="cpu").shape
        torch.Size([2, 3])
    """
    count = process_count()
    if count == 1:
        return draw(shape, **options)
    return draw((shape[0] * count, *shape[1:]), **options)[dist.get_rank() :: count]


def noise_like(tensor: Tensor) -> Tensor:
    """Draw from the normal distribution as :func:`drawn` does, in the layout of a tensor [B, ...].

    Args:
        tensor: Of which shape, type, device and order in memory.
    """
    count = process_count()
    if count == 1:
        return torch.randn_like(tensor)
    return torch.randn_like(torch.cat([tensor] * count))[dist.get_rank() :: count]


def total(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, through which gradients flow to each of them.

    With losses made of such sums, the mean of the processes' gradients, which Lightning's "ddp"
    takes, is the gradient that one process would have. All processes must call this.

    Args:
        tensor: Of the same shape in all processes.

    Example:
        >>> total(torch.tensor([1.0, 2.0]))  # a single process
        tensor([1., 2.])
    """
    if process_count() == 1:
        return tensor
    return cast(Tensor, _Total.apply(tensor))  # type: ignore[no-untyped-call]


class _Total(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        summed = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed
