"""Batch normalisation with the statistics of the batches of all processes."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from wsseg.utils.global_batch import process_count, total


class SharedBatchNorm(nn.BatchNorm2d):
    """Synchronised batch normalisation on a CPU, where torch has none.

    Example:
        >>> SharedBatchNorm(3)(torch.randn(4, 3, 8, 8)).shape  # a single process
        torch.Size([4, 3, 8, 8])
    """

    @classmethod
    def replacing(cls, norm: nn.BatchNorm2d) -> Self:
        """Make one that has the parameters and running statistics of another normalisation.

        Args:
            norm: The normalisation.
        """
        shared = cls(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        shared._parameters, shared._buffers = norm._parameters, norm._buffers
        return shared.train(norm.training)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, features: Tensor) -> Tensor:
        """Normalise features [B, D, h, w]."""
        if not self.training or process_count() == 1:
            return super().forward(features)
        dims, shape = (0, 2, 3), (1, -1, 1, 1)
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        count = total(wide.new_tensor(wide.numel() / wide.shape[1]))
        mean = total(wide.sum(dims)) / count
        centred = wide - mean.view(shape)
        variance = total(centred.square().sum(dims)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(features.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of a batch."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def share_statistics(module: nn.Module, device: torch.device) -> None:
    """Let the batch normalisations of a module use the batches of all processes.

    Args:
        module: The module, whose parts are replaced; its parameters stay the same.
        device: Where it will train.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        >>> share_statistics(network, torch.device("cpu"))
        >>> type(network[1]).__name__
        'SharedBatchNorm'
    """
    if device.type != "cpu":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm.replacing(part))
        else:
            share_statistics(part, device)
