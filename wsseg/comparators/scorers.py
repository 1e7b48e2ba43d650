"""Other ways to score clusters, to compare ``EvidenceScorer`` with.

Name one in a configuration or on the command line: ``--clustering.scorer=VoteScorer``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wsseg.clustering import TAGGED, UNTAGGED, ClusterStatistics, Scorer, purity

UNDECIDED = 0.5
"""Score of a cluster that neither tagged nor untagged slices vote for."""


@dataclass(frozen=True)
class VoteScorer(Scorer):
    """The rule of the authors of Cluster-Re-Supervision, over the data set instead of a batch.

    A cluster that alone makes any untagged slice vote for the class is irrelevant (0);
    one that makes only tagged slices vote for it is relevant (1); the others are left alone.
    """

    low: float = 0.4
    high: float = 0.75  # three of four clusterings must vote for a pixel, none against

    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return 0, ``UNDECIDED`` or 1 for every cluster and class."""
        return vote(statistics)


@dataclass(frozen=True)
class PurityScorer(Scorer):
    """A cluster is relevant as far as it keeps to tagged slices.

    Attributes:
        smoothing: Added to both shares of pixels, so that a cluster that holds less of the data
            than this has a purity near one half.
    """

    smoothing: float = 1e-5
    low: float = 0.7
    high: float = 0.9  # nine times as frequent in tagged slices as in others

    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return the purity of every cluster and class."""
        return purity(statistics, smoothing=self.smoothing)


@dataclass(frozen=True)
class ErasureScorer(Scorer):
    """A cluster is relevant as far as erasing it costs a class more than its area explains."""

    low: float = 0.6
    high: float = 0.75  # three times as much

    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        """Return drop / (drop + area) for every cluster and class."""
        return erasure(statistics)


def vote(statistics: ClusterStatistics) -> Tensor:
    """Apply the authors' rule; see :class:`VoteScorer`.

    Args:
        statistics: Of all training slices.

    Returns:
        [R, K, C], 0, ``UNDECIDED`` or 1.
    """
    tagged, untagged = (statistics.active_slices[..., tag] for tag in (TAGGED, UNTAGGED))
    relevant = torch.where(tagged > 0, 1.0, UNDECIDED)
    return torch.where(untagged > 0, 0.0, relevant).float()


def erasure(statistics: ClusterStatistics) -> Tensor:
    """Compare what a class loses with a cluster to the cluster's area.

    The class score of a slice is the mean of its activation; drop and area are the shares of it,
    and of the anatomy, that go when the cluster's pixels are erased, averaged over tagged slices.

    Args:
        statistics: Of all training slices.

    Returns:
        [R, K, C] in [0, 1]; 0.5 where a cluster is worth no more than its area.
    """
    drop, area = statistics.drop[..., TAGGED], statistics.area[..., TAGGED]
    return torch.where(area > 0, drop / (drop + area).clamp_min(1e-12), 0.0).float()
