"""The metric that says how well tags are predicted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class TagAccuracy(Metric):
    """Share of the tags of all slices that are predicted right.

    A slice counts once, although a distributed sampler may give it to several processes.

    Example:
        >>> accuracy = TagAccuracy()
        >>> probability, tags = torch.tensor([[0.9], [0.6]]), torch.tensor([[1.0], [0.0]])
        >>> accuracy.update(probability, tags, index=torch.tensor([0, 1]))
        >>> accuracy.compute()
        tensor(0.5000)
    """

    full_state_update = False
    index: list[Tensor] | Tensor
    right: list[Tensor] | Tensor

    def __init__(self) -> None:
        """Start without slices."""
        super().__init__()
        for state in ("index", "right"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all slices."""
        super().reset()
        # So that a process without slices sends tensors of the same types as the others.
        self.index = [torch.empty(0, dtype=torch.int64, device=self.device)]
        self.right = [torch.empty(0, device=self.device)]

    def update(self, probability: Tensor, tags: Tensor, index: Tensor) -> None:
        """Add the slices of a batch.

        Args:
            probability: Of every tag, [B, C].
            tags: [B, C], 0, 1, or NaN where unknown, which counts nothing.
            index: Stable ids of the slices, [B] int64.
        """
        assert isinstance(self.index, list)
        assert isinstance(self.right, list)
        self.index.append(index)
        right = ((probability > 0.5) == (tags > 0.5)).float()
        self.right.append(right.masked_fill(tags.isnan(), torch.nan).nanmean(dim=1))

    def compute(self) -> Tensor:
        """Return the share, []; NaN without slices."""
        index, right = dim_zero_cat(self.index), dim_zero_cat(self.right)
        first = np.unique(index.cpu().numpy(), return_index=True)[1]
        return right[torch.from_numpy(first).to(right.device)].nanmean()
