"""How relevant is a cluster to a class? Plug-ins that answer it from tags alone.

A scorer is called with :class:`ClusterStatistics` and returns [R, K, C] in [0, 1]: how
much speaks for it that a pixel of the cluster, in a slice tagged with the class, belongs to the
class. What is enough is up to the scorer (``low`` and ``high``).
The functions do the maths; the classes only carry parameters, so that a configuration can name
them. A scorer of your own is a subclass of :class:`Scorer` with a ``__call__``.
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
"""How far the most active cluster stands out at least: a network that knows little rules none out.
Not measured."""

QUIET_CONTRAST = 0.1
"""Contrast that a cluster has at least, for the same reason. Not measured."""

INNER_CONFIDENCE = 0.5
"""Standard errors by which the purity of an inner class is lowered: slices of an outer class alone
are few, and at its ends. Chosen on training patients of BraTS 2015, kept after a look at held-out
ones."""


class Scorer(ABC):
    """Scores clusters by their statistics; a plug-in of :class:`ClusterReSupervision`.

    A subclass may be as short as this::

        class Frequency(Scorer):  # the share of tagged slices that a cluster occurs in
            def __call__(self, statistics):
                total = statistics.total[:, TAGGED].clamp_min(1)
                return (statistics.slices[..., TAGGED] / total).float()

    Attributes:
        low: A pixel whose relevance is at most this does not belong to the class.
        high: A pixel whose relevance exceeds this does; one between the two is left open.
        relative: Whether a score counts beside what the class reaches in this data set (see
            ``votes_of`` and ``typical_peak``), or for what it is.
    """

    low: float = 0.4
    high: float = 0.5
    relative: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return the relevance of every cluster to every class.

        Args:
            statistics: Of all training slices.

        Returns:
            [R, K, C] in [0, 1].
        """


def check_thresholds(scorer: Scorer) -> Scorer:
    """Return a scorer whose thresholds make sense.

    Raises:
        InputError: They do not satisfy 0 <= low <= high <= 1 and high > 0.
    """
    if not (0 <= scorer.low <= scorer.high <= 1 and scorer.high > 0):
        raise InputError(
            f"scorer: low {scorer.low:g}, high {scorer.high:g}: must satisfy 0 <= low <= high <= 1 "
            "and high > 0"
        )
    return scorer


@dataclass(frozen=True)
class EvidenceScorer(Scorer):
    """Purity, focus and activation together.

    The score is excess(purity) * focus^focus_power * max(contrast, 0.1)^activation_power, and 0 for
    clusters that occur in no tagged slice. For a class that lies in another, it is also multiplied
    by the excess of the lower bound of its purity against slices of that outer class alone.

    Purity alone lets in rare tissue that happens to lie in tagged slices, above all at levels of
    the body where every patient has a lesion. Such tissue spreads over the slice, where a lesion is
    in one place. Activation alone lets in tissue that surrounds the class, and more of it with
    every refresh. So purity and focus, which do not depend on the network's opinion, lead, and
    activation moderates. Purity counts as the share of the cluster that untagged slices do not
    explain. Where a class is tagged only beside another one, as a tumour core beside the whole
    tumour, slices of that outer class alone must not explain it either: oedema is as rare in
    healthy slices as the core is. That purity counts with its lower confidence bound over patients.

    Attributes:
        focus_power: Weight of the focus beside the purity; 0 for lesions that are everywhere.
        activation_power: Weight of the activation beside the purity.

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
        """Return the weighed evidence for every cluster and class."""
        own = excess(purity(statistics))
        inner = excess(
            lower_bound(
                purity(statistics, surroundings(statistics)),
                statistics.support[..., TAGGED].float(),
                INNER_CONFIDENCE,
            )
        )
        product = (
            torch.where(outer_class(statistics) < 0, own, own * inner)
            * focus(statistics) ** self.focus_power
            * contrast(statistics).clamp_min(QUIET_CONTRAST) ** self.activation_power
        )
        return product * _occurs(statistics)


def outer_class(statistics: ClusterStatistics) -> Tensor:
    """Return the class that each class lies in, as far as tags tell.

    A class whose every slice is tagged with another one, which has more, lies in that one; in the
    least frequent if there are several.

    Args:
        statistics: Of all training slices.

    Returns:
        [C] int64, -1 for classes that lie in no other.
    """
    together = statistics.together
    slices = together.diagonal()
    inside = (together == slices[:, None]) & (slices > slices[:, None]) & (slices[:, None] > 0)
    nearest = torch.where(inside, slices, torch.inf).argmin(dim=1)
    return torch.where(inside.any(dim=1), nearest, -1)


def surroundings(statistics: ClusterStatistics) -> Tensor:
    """Count pixels, by level, of the slices that have each class's outer class but not itself.

    Args:
        statistics: Of all training slices.

    Returns:
        [R, K, C, G]; of untagged slices for classes that lie in no other.
    """
    outer, tagged = outer_class(statistics), statistics.pixels[..., TAGGED, :]
    # Every slice of the class is one of the outer class, so that the rest is a difference.
    rest = tagged[:, :, outer.clamp_min(0)] - tagged
    return torch.where((outer < 0)[:, None], statistics.pixels[..., UNTAGGED, :], rest)


def pixel_shares(statistics: ClusterStatistics, untagged: Tensor | None = None) -> Tensor:
    """Return each cluster's share of the pixels of untagged and of tagged slices.

    The share in untagged slices is what it would be if they were spread over the levels as the
    tagged ones are: lesions keep to some levels of the body, and so does healthy tissue. In a
    level without untagged slices the share over all levels stands in.

    Args:
        statistics: Of all training slices.
        untagged: Pixels, by level, of the slices to compare with, [R, K, C, G]; those without
            the class by default.

    Returns:
        [R, K, C, 2].
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
    """Return p / (p + n), the share p in tagged slices against the share n in untagged ones.

    Args:
        statistics: Of all training slices.
        untagged: See :func:`pixel_shares`.
        smoothing: Added to both shares.

    Returns:
        [R, K, C] in [0, 1].
    """
    shares = pixel_shares(statistics, untagged) + smoothing
    pure = shares[..., TAGGED] / shares.sum(dim=-1).clamp_min(1e-12)
    return (pure * _occurs(statistics)).float()


def mean_activation(statistics: ClusterStatistics) -> Tensor:
    """Return the mean activation of each cluster in tagged slices, [R, K, C]; 0 without pixels."""
    pixels = statistics.pixels[..., TAGGED, :].sum(dim=-1)
    return (statistics.activation[..., TAGGED] / pixels.clamp_min(1)).float()


def excess(pure: Tensor) -> Tensor:
    """Turn purity into the share of a cluster's tagged pixels that are there because of the tag.

    If healthy tissue is as frequent in tagged slices as in untagged ones, n of a cluster's share p
    is healthy and (p - n) / p = 2 - 1 / purity belongs to the class.

    Args:
        pure: Purity p / (p + n), in [0, 1].

    Returns:
        In [0, 1]; 0 for clusters no more frequent with the class than without.
    """
    return (2 - 1 / pure.clamp_min(0.5)).clamp(0, 1)


def contrast(statistics: ClusterStatistics) -> Tensor:
    """Place each cluster between the activation of untagged slices (0) and the most active one (1).

    While a network has learned little its activation is flat, and the most active cluster stands
    out by chance; it then counts as standing out by at least ``FLAT_ACTIVATION``.

    Args:
        statistics: Of all training slices.

    Returns:
        [R, K, C] in [0, 1].
    """
    active = mean_activation(statistics)
    untagged = statistics.activation[..., UNTAGGED].sum(dim=1, keepdim=True)
    pixels = statistics.pixels[..., UNTAGGED, :].sum(dim=-1).sum(dim=1, keepdim=True)
    above = active - (untagged / pixels.clamp_min(1)).float()
    return (above / above.amax(dim=1, keepdim=True).clamp_min(FLAT_ACTIVATION)).clamp(0, 1)


def focus(statistics: ClusterStatistics) -> Tensor:
    """Return how much each cluster keeps to one place of the tagged slices that it occurs in.

    Args:
        statistics: Of all training slices.

    Returns:
        [R, K, C] in [0, 1]: 1 for a point, 0 for a cluster that spreads like the whole anatomy.
    """
    pixels = statistics.pixels[..., TAGGED, :].sum(dim=-1)
    return (1 - statistics.spread[..., TAGGED] / pixels.clamp_min(1)).clamp(0, 1).float()


def lower_bound(share: Tensor, count: Tensor, confidence: float) -> Tensor:
    """Return the lower end of Wilson's interval for a share (Wilson, JASA 1927).

    Args:
        share: Observed share in [0, 1].
        count: Number of independent observations, of the same shape.
        confidence: Half-width in standard errors.
    """
    square, count = confidence**2, count.clamp_min(1e-6)
    spread = (share * (1 - share) / count + square / (4 * count**2)).clamp_min(0).sqrt()
    centre = share + square / (2 * count)
    return ((centre - confidence * spread) / (1 + square / count)).clamp(0, 1)


def _occurs(statistics: ClusterStatistics) -> Tensor:
    return (statistics.slices[..., TAGGED] > 0).float()
