"""Which parts of a pixel's embedding each clustering sees, and how much they weigh."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings

SHARE = 0.25  # of the features' weight in k-means that the deviation has, however many columns


class Columns(NamedTuple):
    """How many columns of an embedding are what, in this order."""

    features: int = 0
    asymmetry: int = 0
    deviation: int = 0

    @classmethod
    def of(cls, embeddings: PixelEmbeddings) -> Columns:
        """Count those of a batch, whose appearance becomes the deviation."""
        return cls(*(0 if each is None else each.shape[1] for each in embeddings.maps))

    def sees_asymmetry(self, clusterings: int) -> Tensor:
        """Return which of several clusterings see the asymmetry, [R] bool: every second."""
        return (torch.arange(clusterings) % 2 == 1) & (self.asymmetry > 0)

    def shown(self, clusterings: int) -> Tensor:
        """Return which columns every clustering sees.

        The third and fourth of every four see the deviation. So one sees the features alone, which
        show borders best, and one sees all.

        Args:
            clusterings: R.

        Returns:
            [R, D] bool.
        """
        number = torch.arange(clusterings)
        views = (number >= 0, self.sees_asymmetry(clusterings), number % 4 >= 2)
        return torch.stack(views, dim=1).repeat_interleave(torch.tensor(self), dim=1)

    def weights(self) -> Tensor:
        """Return what standardised columns are multiplied by, [D]."""
        deviation = (SHARE * self.features / max(1, self.deviation)) ** 0.5
        return torch.tensor([1.0, 1.0, deviation]).repeat_interleave(torch.tensor(self))
