"""Scorers: how relevant each cluster is to each class, by tags alone.

A scorer is called with :class:`ClusterStatistics` and returns [R, K, C] in [0, 1]. High scores say
that a pixel of the cluster, in a slice tagged with the class, belongs to the class. Each scorer has
its own thresholds (``low`` and ``high``). The functions compute; the classes hold the parameters,
so that a configuration can set them. Your own scorer is a subclass of :class:`Scorer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wsseg.clustering.statistics import TAGGED, UNTAGGED, ClusterStatistics
from wsseg.utils.errors import InputError

FLAT_ACTIVATION = 0.1
"""Least activation above untagged slices that counts as that of the most active cluster: while the
network has learned little, no cluster is then ruled out. Not measured."""

QUIET_CONTRAST = 0.1
"""Least contrast that a cluster is scored with, for the same reason. Not measured."""

INNER_CONFIDENCE = 0.5
"""Standard errors by which the purity of an inner class is lowered: there are few slices with only
the outer class, and they lie at its ends. Chosen on training patients of BraTS 2015, and kept after
a look at held-out ones."""


class Scorer(ABC):
    """Scores clusters by their statistics; a plug-in of :class:`ClusterReSupervision`.

    A subclass may be as short as this::

        class Frequency(Scorer):  # the share of tagged slices that a cluster occurs in
            def __call__(self, statistics):
                total = statistics.total[:, TAGGED].clamp_min(1)
                return (statistics.slices[..., TAGGED] / total).float()

    Attributes:
        low: A pixel whose relevance is at most this does not belong to the class.
        high: A pixel whose relevance exceeds this belongs to it; between the two it is ignored.
        relative: Whether scores are divided by what the class reaches in this data set (see
            ``votes_of`` and ``typical_peak``) before the thresholds apply.
    """

    low: float = 0.4
    high: float = 0.5
    relative: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return the relevance of every cluster to every class.

        Args:
            statistics: Statistics of the evidence.

        Returns:
            [R, K, C] in [0, 1].
        """


def check_scorer(scorer: Scorer) -> Scorer:
    """Check a scorer and its thresholds, and return it.

    Raises:
        InputError: It is no object of a subclass of :class:`Scorer`, or its thresholds do not
            satisfy 0 <= low <= high <= 1 and high > 0.
    """
    if not isinstance(scorer, Scorer):
        raise InputError(
            f"scorer: {scorer!r} is no scorer; give an object of a subclass of Scorer, such as "
            "EvidenceScorer()"
        )
    if not (0 <= scorer.low <= scorer.high <= 1 and scorer.high > 0):
        raise InputError(
            f"scorer: low {scorer.low:g}, high {scorer.high:g}: must satisfy 0 <= low <= high <= 1 "
            "and high > 0"
        )
    return scorer


@dataclass(frozen=True)
class EvidenceScorer(Scorer):
    """Combines purity, focus and activation.

    The score is excess(purity) * focus^focus_power * max(contrast, 0.1)^activation_power, and 0 for
    clusters that occur in no slice tagged with the class. If every slice of the class is also
    tagged with another (outer) class, as with tumour core and whole tumour, the score is multiplied
    by a second excess: that of the lower confidence bound, over cases, of the purity against slices
    with only the outer class. (Oedema is as rare in untagged slices as the core.)

    Purity alone selects rare tissue that happens to lie in tagged slices, above all at levels of
    the body where every patient has a lesion; but such tissue spreads over the slice, while a
    lesion is in one place. Activation alone selects tissue around the class as well, and more of it
    with every refresh. Purity and focus do not depend on the network and therefore count most.

    Attributes:
        focus_power: Exponent of the focus; 0 for lesions that spread over the whole slice.
        activation_power: Exponent of the contrast of the activation.

    Example:
        >>> EvidenceScorer(activation_power=1.0).high
        0.2
    """

    focus_power: float = 2.0
    activation_power: float = 0.25
    low: float = 0.15
    high: float = 0.2
    relative: ClassVar[bool] = True

    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return the score of every cluster for every class, [R, K, C]."""
        against_untagged = excess(purity(statistics))
        against_outer = excess(
            lower_bound(
                purity(statistics, pixels_to_compare(statistics)),
                statistics.support[..., TAGGED].float(),
                INNER_CONFIDENCE,
            )
        )
        product = (
            torch.where(
                outer_class(statistics) < 0, against_untagged, against_untagged * against_outer
            )
            * focus(statistics) ** self.focus_power
            * contrast(statistics).clamp_min(QUIET_CONTRAST) ** self.activation_power
        )
        return product * _occurs(statistics)


def outer_class(statistics: ClusterStatistics) -> Tensor:
    """Return the outer class of each class, by tags alone.

    A is the outer class of B if all slices tagged with B are tagged with A, and A has more slices;
    of several such classes, the one with the fewest slices.

    Args:
        statistics: Statistics of the evidence.

    Returns:
        [C] int64, -1 for classes without an outer class.
    """
    together = statistics.together
    slices = together.diagonal()
    inside = (together == slices[:, None]) & (slices > slices[:, None]) & (slices[:, None] > 0)
    nearest = torch.where(inside, slices, torch.inf).argmin(dim=1)
    return torch.where(inside.any(dim=1), nearest, -1)


def pixels_to_compare(statistics: ClusterStatistics) -> Tensor:
    """Count pixels, by level, of slices with only the outer class, to compare an inner class with.

    Args:
        statistics: Statistics of the evidence.

    Returns:
        [R, K, C, G]; for classes without an outer class, those of slices without the class.
    """
    outer, untagged = outer_class(statistics), statistics.pixels[..., UNTAGGED, :]
    # Slices without the outer class are without the inner one, too, so that a difference remains;
    # where tags are unknown, some of these may not be counted.
    only_outer = (untagged - untagged[:, :, outer.clamp_min(0)]).clamp_min(0)
    return torch.where((outer < 0)[:, None], untagged, only_outer)


def pixel_shares(statistics: ClusterStatistics, untagged: Tensor | None = None) -> Tensor:
    """Return each cluster's share of the pixels of slices without and with each class.

    Slices with the class have most pixels at some levels of the body. The share in slices without
    it is therefore computed by level, and averaged with the pixels of the former at each level as
    weights. At a level with no slice to compare, the share over all levels is used.

    Args:
        statistics: Statistics of the evidence.
        untagged: Pixels, by level, of the slices to compare with, [R, K, C, G]; by default of those
            without the class.

    Returns:
        [R, K, C, 2], ``UNTAGGED`` and ``TAGGED``.
    """
    tagged = statistics.pixels[..., TAGGED, :]
    if untagged is None:
        untagged = statistics.pixels[..., UNTAGGED, :]
    level_untagged = untagged.sum(dim=1, keepdim=True)  # [R, 1, C, G]
    level_tagged = tagged.sum(dim=1, keepdim=True)
    overall = untagged.sum(dim=-1, keepdim=True) / level_untagged.sum(-1, True).clamp_min(1)
    within = untagged / level_untagged.clamp_min(1)
    within = torch.where(level_untagged > 0, within, overall)
    total = level_tagged.sum(dim=-1).clamp_min(1)
    matched = (within * level_tagged).sum(dim=-1) / total
    return torch.stack((matched, tagged.sum(dim=-1) / total), dim=-1)


def purity(
    statistics: ClusterStatistics, untagged: Tensor | None = None, smoothing: float = 1e-5
) -> Tensor:
    """Return p / (p + n), for shares p of slices with and n of slices without the class.

    Args:
        statistics: Statistics of the evidence.
        untagged: See :func:`pixel_shares`.
        smoothing: Added to both shares.

    Returns:
        [R, K, C] in [0, 1].

    Example:
        >>> from wsseg.clustering.statistics import empty_statistics
        >>> statistics = empty_statistics(clusterings=1, clusters=2, classes=1)
        >>> statistics.pixels[0, :, 0, :, 0] = torch.tensor([[30.0, 10.0], [10.0, 30.0]]).double()
        >>> statistics.slices.fill_(1).shape  # both clusters occur in a slice
        torch.Size([1, 2, 1, 2])
        >>> purity(statistics)[0, :, 0]
        tensor([0.2500, 0.7500])
    """
    shares = pixel_shares(statistics, untagged) + smoothing
    pure = shares[..., TAGGED] / shares.sum(dim=-1).clamp_min(1e-12)
    return (pure * _occurs(statistics)).float()


def mean_activation(statistics: ClusterStatistics) -> Tensor:
    """Return each cluster's mean activation in slices with the class, [R, K, C]."""
    pixels = statistics.pixels[..., TAGGED, :].sum(dim=-1)
    return (statistics.activation[..., TAGGED] / pixels.clamp_min(1)).float()


def excess(pure: Tensor) -> Tensor:
    """Estimate from its purity which share of a cluster's pixels, in tagged slices, is the class.

    With a share p in slices with the class and n in slices without it, and if healthy tissue is as
    frequent in both, the class makes up (p - n) / p = 2 - 1 / purity of the cluster.

    Args:
        pure: Purity p / (p + n), in [0, 1].

    Returns:
        In [0, 1]; 0 for clusters that are no more frequent with the class than without.

    Example:
        >>> excess(torch.tensor([0.3, 0.5, 0.75, 1.0]))
        tensor([0.0000, 0.0000, 0.6667, 1.0000])
    """
    return (2 - 1 / pure.clamp_min(0.5)).clamp(0, 1)


def contrast(statistics: ClusterStatistics) -> Tensor:
    """Scale mean activations: 0 is the mean of slices without the class, 1 the most active cluster.

    While a network has learned little its activation is flat, and some cluster is the most active
    by chance. So 1 stands for at least ``FLAT_ACTIVATION`` more than 0 does.

    Args:
        statistics: Statistics of the evidence.

    Returns:
        [R, K, C] in [0, 1].
    """
    active = mean_activation(statistics)
    untagged = statistics.activation[..., UNTAGGED].sum(dim=1, keepdim=True)
    pixels = statistics.pixels[..., UNTAGGED, :].sum(dim=-1).sum(dim=1, keepdim=True)
    above = active - (untagged / pixels.clamp_min(1)).float()
    return (above / above.amax(dim=1, keepdim=True).clamp_min(FLAT_ACTIVATION)).clamp(0, 1)


def focus(statistics: ClusterStatistics) -> Tensor:
    """Return how concentrated each cluster is in the slices with the class that it occurs in.

    Args:
        statistics: Statistics of the evidence.

    Returns:
        [R, K, C] in [0, 1]: 1 for a point, 0 for a cluster that spreads like all valid pixels.

    Example:
        >>> from wsseg.clustering.statistics import empty_statistics
        >>> statistics = empty_statistics(clusterings=1, clusters=2, classes=1)
        >>> statistics.pixels[..., TAGGED, 0] = 10  # pixels of each cluster
        >>> statistics.spread[0, 1, 0, TAGGED] = 8  # relative variances: 0, and 0.8 each
        >>> focus(statistics)[0, :, 0]
        tensor([1.0000, 0.2000])
    """
    pixels = statistics.pixels[..., TAGGED, :].sum(dim=-1)
    return (1 - statistics.spread[..., TAGGED] / pixels.clamp_min(1)).clamp(0, 1).float()


def lower_bound(share: Tensor, count: Tensor, confidence: float) -> Tensor:
    """Return the lower end of Wilson's interval for a share (Wilson, JASA 1927).

    Args:
        share: Observed share, in [0, 1].
        count: Number of independent observations, of the same shape.
        confidence: Half-width in standard errors.
    """
    square, count = confidence**2, count.clamp_min(1e-6)
    spread = (share * (1 - share) / count + square / (4 * count**2)).clamp_min(0).sqrt()
    centre = share + square / (2 * count)
    return ((centre - confidence * spread) / (1 + square / count)).clamp(0, 1)


def _occurs(statistics: ClusterStatistics) -> Tensor:
    return (statistics.slices[..., TAGGED] > 0).float()
