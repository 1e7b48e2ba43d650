"""The table of clusters: what a refresh has found about each cluster, and what it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.scorers import Scorer, focus, mean_activation, purity
from wsseg.clustering.statistics import TAGGED, ClusterStatistics
from wsseg.utils.targets import to_targets

DECISIONS = {1: "relevant", 0: "irrelevant", -1: "open"}


class ClusterRow(NamedTuple):
    """A cluster of one clustering, as seen by one class.

    Attributes:
        clustering: Number of the clustering, from 0.
        cluster: Number of the cluster in it, from 0.
        class_name: The class.
        size: Share of the sampled valid pixels that the cluster holds.
        slices: Slices tagged with the class in which the cluster occurs.
        cases: Effective number of cases that its pixels in these slices come from.
        purity: How frequent it is in slices with the class, of slices with and without it: 0.5 if
            equally frequent in both.
        focus: How much it keeps to one place of a slice, from 0 to 1.
        activation: Mean class activation of its pixels in slices with the class.
        score: What the scorer made of this.
        relevance: What the scores of all clusters together make of it, from 0 to 1: the relevance
            of a pixel whose clusters are all like this one.
        decision: "relevant", "irrelevant", or "open" between the two thresholds.
    """

    clustering: int
    cluster: int
    class_name: str
    size: float
    slices: int
    cases: float
    purity: float
    focus: float
    activation: float
    score: float
    relevance: float
    decision: str


@dataclass(frozen=True)
class ClusterTable:
    """What is known of R clusterings of K clusters, for C classes.

    Attributes:
        size: Share of the sampled valid pixels, [R, K].
        slices: Tagged slices in which a cluster occurs, [R, K, C].
        cases: Effective number of cases, [R, K, C].
        purity: [R, K, C].
        focus: [R, K, C].
        activation: [R, K, C].
        score: [R, K, C].
        relevance: [R, K, C].
        low: Up to this relevance a cluster is irrelevant.
        high: Above this relevance it is relevant.

    Example:
        >>> from wsseg.clustering.scorers import EvidenceScorer
        >>> from wsseg.clustering.statistics import empty_statistics
        >>> statistics = empty_statistics(clusterings=1, clusters=2, classes=1)
        >>> statistics.pixels[0, :, 0, :, 0] = torch.tensor([[30.0, 10.0], [10.0, 30.0]]).double()
        >>> statistics.slices.fill_(1).shape  # both clusters occur in a slice
        torch.Size([1, 2, 1, 2])
        >>> scores = torch.tensor([[[0.0], [0.6]]])
        >>> table = cluster_table(statistics, scores, votes=scores, scorer=EvidenceScorer())
        >>> [(row.cluster, row.purity, row.decision) for row in table.rows(["tumour"])]
        [(0, 0.25, 'irrelevant'), (1, 0.75, 'relevant')]
    """

    size: Tensor
    slices: Tensor
    cases: Tensor
    purity: Tensor
    focus: Tensor
    activation: Tensor
    score: Tensor
    relevance: Tensor
    low: float
    high: float

    def rows(self, classes: Sequence[str]) -> list[ClusterRow]:
        """Return a row for each class, clustering and cluster, in this order.

        Args:
            classes: Names of the classes.
        """
        clusterings, clusters, _ = self.relevance.shape
        every = product(enumerate(classes), range(clusterings), range(clusters))
        return [self._row(name, (r, k, c)) for (c, name), r, k in every]

    def _row(self, class_name: str, place: tuple[int, int, int]) -> ClusterRow:
        def value(column: Tensor) -> float:
            return round(float(column[place]), 4)

        clustering, cluster, _ = place
        return ClusterRow(
            clustering,
            cluster,
            class_name,
            size=round(float(self.size[clustering, cluster]), 6),
            slices=int(self.slices[place]),
            cases=value(self.cases),
            purity=value(self.purity),
            focus=value(self.focus),
            activation=value(self.activation),
            score=value(self.score),
            relevance=value(self.relevance),
            decision=DECISIONS[int(to_targets(self.relevance[place], self.low, self.high))],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all fields, for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ClusterTable:
        """Make a table from the return value of :meth:`state_dict`."""
        return cls(**state)


def cluster_table(
    statistics: ClusterStatistics, scores: Tensor, votes: Tensor, scorer: Scorer
) -> ClusterTable:
    """Return the table of clusters.

    Args:
        statistics: Statistics of the evidence.
        scores: Score of every cluster for every class, [R, K, C].
        votes: What a cluster adds to the relevance of its pixels, [R, K, C].
        scorer: Has the thresholds.
    """
    pixels = statistics.pixels[:, :, 0].sum(dim=(2, 3))  # every class counts all slices
    return ClusterTable(
        size=(pixels / pixels.sum(dim=1, keepdim=True).clamp_min(1)).float(),
        slices=statistics.slices[..., TAGGED].float(),
        cases=statistics.support[..., TAGGED].float(),
        purity=purity(statistics),
        focus=focus(statistics),
        activation=mean_activation(statistics),
        score=scores.float().cpu(),
        relevance=torch.clamp(votes.float().cpu() * len(votes), 0, 1),
        low=scorer.low,
        high=scorer.high,
    )
