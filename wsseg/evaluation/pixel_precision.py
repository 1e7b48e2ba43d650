"""Pixel-wise average precision, by which maps of pictures are compared in the literature."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

PXAP_STEPS = 1000
"""Thresholds are 0, 1/1000, 2/1000 and so on up to 1."""


class PixelAveragePrecision(Metric):
    """PxAP: the area under the curve of precision over recall of the pixels of all slices together.

    Defined by J. Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right",
    CVPR 2020, and taken over by the survey of histology, J. Rony, S. Belharbi, J. Dolz et al.,
    Machine Learning for Biomedical Imaging 2, 2023. A pixel is predicted where its probability is
    at least the threshold. Precision at each threshold counts by what recall gains there over the
    next higher threshold. Probabilities are taken as they are, not stretched to each slice's range.

    Torchmetrics' ``BinaryAveragePrecision(thresholds=1001)`` returns the same, but compares every
    pixel with every threshold. Here a slice, which a distributed sampler may repeat, counts once.

    Example:
        >>> metric = PixelAveragePrecision(classes=1)
        >>> probability = torch.tensor([[[[0.9, 0.8, 0.3]]]])
        >>> mask = torch.tensor([[[[True, False, True]]]])
        >>> metric.update(probability, mask, torch.ones(1, 1, 3, dtype=torch.bool), torch.arange(1))
        >>> metric.compute()  # a half of the truth at a precision of 1, the other half at 2/3
        [0.8333333333333333]
    """

    full_state_update = False
    index: list[Tensor] | Tensor
    counts: list[Tensor] | Tensor

    def __init__(self, classes: int) -> None:
        """Start without slices.

        Args:
            classes: Number of classes C.
        """
        super().__init__()
        self.classes = classes
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, probability: Tensor, mask: Tensor, valid: Tensor, index: Tensor) -> None:
        """Add the slices of a batch.

        Args:
            probability: [B, C, H, W] in [0, 1].
            mask: [B, C, H, W] bool, the truth.
            valid: [B, H, W] bool; pixels that do not hold the body count only where drawn.
            index: [B] int64, stable ids of the slices.
        """
        assert isinstance(self.index, list)
        assert isinstance(self.counts, list)
        self.index.append(index.to(self.device))
        self.counts.append(histograms(probability, mask.bool(), valid).to(self.device))

    def compute(self) -> list[float | None]:
        """Return PxAP of every class in [0, 1]; None for a class that is drawn nowhere."""
        if not len(self.index):
            return [None] * self.classes
        index, counts = dim_zero_cat(self.index).cpu(), dim_zero_cat(self.counts).cpu()
        place = torch.unique(index, return_inverse=True)[1]
        once = torch.zeros(int(place.max()) + 1, *counts.shape[1:], dtype=counts.dtype)
        once[place] = counts  # a slice that is repeated has the same counts again
        return [average_precision(*each) for each in once.sum(dim=0)]


def histograms(probability: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Count pixels of every slice by the highest threshold that their probability reaches.

    Args:
        probability: [B, C, H, W] in [0, 1].
        mask: [B, C, H, W] bool.
        valid: [B, H, W] bool.

    Returns:
        [B, C, 2, 1001] int64: of pixels that do not belong to the class, and of those that do.
    """
    thresholds = torch.linspace(0, 1, PXAP_STEPS + 1, device=probability.device)
    step = torch.bucketize(probability.float().contiguous(), thresholds, right=True) - 1
    batch, classes = mask.shape[:2]
    row = torch.arange(batch * classes, device=mask.device).view(batch, classes, 1, 1)
    bins = (2 * row + mask) * (PXAP_STEPS + 1) + step
    counted = bins[valid[:, None] | mask]
    total = torch.bincount(counted, minlength=batch * classes * 2 * (PXAP_STEPS + 1))
    return total.view(batch, classes, 2, PXAP_STEPS + 1)


def average_precision(negative: Tensor, positive: Tensor) -> float | None:
    """Return the area under precision over recall.

    Args:
        negative: How many pixels that do not belong to the class reach each threshold and not the
            next, [thresholds].
        positive: How many of those that do, likewise.

    Returns:
        A number in [0, 1]; None if there is no positive pixel.

    Example:
        >>> average_precision(torch.tensor([2, 0]), torch.tensor([0, 2]))  # all are told apart
        1.0
    """
    if not positive.sum():
        return None
    false, true = (each.flip(0).double().cumsum(0) for each in (negative, positive))
    precision = true / (true + false).clamp_min(1)
    gained = positive.flip(0).double() / true[-1]
    return float((precision * gained).sum())
