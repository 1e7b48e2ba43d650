"""A refresh of the cluster maps: learn views, embed, cluster, score, map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wsseg.clustering.checks import check_scores, check_tags
from wsseg.clustering.clusters import Clusters, view_names
from wsseg.clustering.evidence import Evidence
from wsseg.clustering.kmeans import KMeansJob, fit_clusterings
from wsseg.clustering.map_refresh import MapRefresh
from wsseg.clustering.options import ClusteringOptions
from wsseg.clustering.relevance import smoothing_factor, typical_peak, votes_of
from wsseg.clustering.scorers import Scorer, focus, purity
from wsseg.clustering.selection import (
    choose_slices,
    choose_untagged,
    process_positions,
)
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import TAGGED, ClusterStatistics
from wsseg.clustering.table import cluster_table
from wsseg.clustering.views import View, column_weights, learns, seen_columns
from wsseg.utils.distributed import Collective
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_folder import MapFolder

UNTAGGED_SLICES = 256
"""Untagged slices that views learn from, in addition to those of the evidence. Not measured."""


class Refresh(MapRefresh):
    """Clusters the training slices anew; every process calls :meth:`run` of its own object."""

    def __init__(
        self,
        source: EmbeddingSource,
        options: ClusteringOptions,
        scorer: Scorer,
        views: Sequence[View],
        folder: MapFolder | None,
        collective: Collective,
    ) -> None:
        """Choose the slices of the evidence.

        Args:
            source: Embeds the training slices.
            options: How clusters are formed and mapped.
            scorer: Scores the clusters.
            views: The views that some clusterings see beside the features.
            folder: Folder for the file of maps; None to write none.
            collective: The processes that share the work.
        """
        super().__init__(source, scorer, folder, collective)
        self._options = options
        self._views = tuple(views)
        known = source.known
        self._tags = None if known is None else known.tags
        level = None if known is None else known.level
        most = max(2, options.evidence_slices // source.per_item)
        self._chosen = choose_slices(len(source), most, options.seed, self._tags, level)

    def run(
        self, previous: Clusters | None = None, former: MapFile | None = None
    ) -> tuple[Clusters | None, MapFile | None]:
        """Cluster the training slices and write their maps, if there is a folder.

        Args:
            previous: Clusters of the last refresh, from whose centroids k-means starts.
            former: Maps of the last refresh, to report how much they change.

        Returns:
            Clusters and maps, the same in every process.

        Raises:
            InputError: The slices cannot be clustered or scored; the message says why.
        """
        if previous is not None and view_names(previous.views) != view_names(self._views):
            previous = None
        with self._stage("embed"):
            learned = self._learn() if previous is None else previous.learned
            evidence = self._embed(learned)
        with self._stage("cluster"):
            clusters = self._cluster(evidence, learned, previous)
        with self._stage("score"):
            clusters = self._score(clusters, evidence)
        if self._folder is None:
            return clusters.cpu(), None
        with self._stage("map"):
            maps = self._map(clusters, evidence.plane, self._folder, former)
        return clusters.cpu(), maps

    def _learn(self) -> tuple[Tensor, ...]:
        """Let the views learn from untagged slices, those of the evidence and others."""
        rows = torch.tensor(self._chosen)
        if self._tags is not None:
            rows = rows[(self._tags.cpu()[rows] <= 0.5).all(dim=1)]
        more = choose_untagged(len(self._source), UNTAGGED_SLICES, self._chosen, self._tags)
        rows = torch.cat((rows, torch.tensor(more, dtype=torch.int64))).sort().values
        mine = process_positions(len(rows), self._collective.rank, self._collective.size)
        positions = rows[list(mine)].tolist()
        learned = []
        for view in self._views:
            untagged = self._source.embed(positions if learns(view) else [], False, False)
            learned.append(view.learn(untagged, self._collective))
        return tuple(learned)

    def _embed(self, learned: Sequence[Tensor]) -> Evidence:
        """Embed the slices of the evidence; each process embeds some of them."""
        collective = self._collective
        evidence = Evidence(len(self._chosen), self._views, learned)
        with collective.together("embedding slices"):
            mine = process_positions(len(self._chosen), collective.rank, collective.size)
            evidence.collect(self._source.embed([self._chosen[number] for number in mine]))
        # An item of the data set may be a batch of several slices.
        evidence.thin_out(int(collective.sum(torch.tensor(evidence.count))))
        # A process without slices does not know the number of columns and the shape of a slice.
        evidence.widths = [collective.maximum(width) for width in evidence.widths]
        classes, height, width = (collective.maximum(length) for length in evidence.plane)
        evidence.plane = (classes, height, width)
        return evidence

    def _sample(self, evidence: Evidence) -> Tensor:
        """Return the pixels for k-means, [n, D + E], the same in every process."""
        options, collective, slices = self._options, self._collective, evidence.slices
        # If slices are many, sample_size // slices may be too small for one pixel per cluster.
        quota = max(options.sample_size // slices, -(-options.n_clusters // slices))
        columns, index = evidence.sample(quota)
        columns, index = collective.gather(columns), collective.gather(index)
        return columns[index.argsort(stable=True).to(columns.device)]

    def _cluster(
        self, evidence: Evidence, learned: Sequence[Tensor], previous: Clusters | None
    ) -> Clusters:
        """Standardise and cluster the sample; each process makes some of the clusterings."""
        options, collective = self._options, self._collective
        sample = self._sample(evidence)
        mean = collective.broadcast(sample.double().mean(dim=0).float())
        std = collective.broadcast(sample.double().std(dim=0, correction=0).float())
        weights = column_weights(self._views, evidence.widths).to(std)
        scale = torch.where(std > 1e-6, std, 1.0) / weights
        points = (sample - mean) / scale
        # Columns that a clustering does not see are 0, in points and centroids alike.
        seen = seen_columns(self._views, evidence.widths, options.n_clusterings).to(points)
        shape = (options.n_clusterings, options.n_clusters, sample.shape[1])
        start: Sequence[Tensor | None] = [None] * options.n_clusterings
        if previous is not None and previous.centroids.shape == shape:
            start = list(previous.centroids)
        centroids = points.new_zeros(shape)
        mine = range(collective.rank, options.n_clusterings, collective.size)
        with collective.together("k-means"):
            jobs = [
                KMeansJob(points * seen[number], options.seed + number, start[number])
                for number in mine
            ]
            fitted = fit_clusterings(jobs, options.n_clusters, options.iterations, options.backend)
            for number, of_clustering in zip(mine, fitted, strict=True):
                centroids[number] = of_clustering
        not_yet = torch.zeros(*shape[:2], evidence.plane[0])
        return Clusters(
            self._views,
            tuple(learned),
            mean,
            scale,
            collective.sum(centroids),
            scores=not_yet,
            votes=not_yet,
            likeness=not_yet,
            smoothing=options.smoothing,
        )

    def _score(self, clusters: Clusters, evidence: Evidence) -> Clusters:
        """Return the clusters with scores, votes and likeness."""
        collective, scorer = self._collective, self._scorer
        with collective.together("assigning pixels"):
            evidence.assign(clusters)
            statistics = evidence.statistics(*clusters.scores.shape)
        statistics = statistics.apply(collective.sum)
        check_tags(statistics, len(self._source))
        with collective.together("scoring clusters"):
            scores = check_scores(scorer(statistics), statistics)
        scores = collective.broadcast(scores)
        likeness = collective.broadcast(purity(statistics) * focus(statistics))
        votes, smoothing = scores / len(scores), clusters.smoothing
        if scorer.relative:
            votes = votes_of(scores)
            with collective.together("comparing slices"):
                peaks = evidence.peaks(votes)
            peak = collective.broadcast(typical_peak(collective.gather(peaks)))
            self.report["peak"] = float(peak.mean())
            votes = votes / peak
            smoothing = smoothing * smoothing_factor(scores)
        self.table = cluster_table(statistics, scores, votes, scorer)
        # The relevance of a pixel whose clusters have this vote in all clusterings.
        self.report |= describe_scores(votes * len(votes), statistics, scorer.high)
        return replace(clusters, scores=scores, votes=votes, likeness=likeness, smoothing=smoothing)


def describe_scores(
    relevance: Tensor, statistics: ClusterStatistics, high: float
) -> dict[str, float]:
    """Return the mean number of relevant clusters per class and clustering, and their mean support.

    Args:
        relevance: Relevance of every cluster, [R, K, C].
        statistics: Statistics of the evidence, for the support (effective number of cases).
        high: Threshold of relevance.
    """
    relevant = (relevance > high).double()
    count = relevant.sum()
    support = (relevant * statistics.support[..., TAGGED]).sum() / count.clamp_min(1)
    clusterings, _, classes = relevance.shape
    return {
        "relevant_clusters": float(count) / (clusterings * classes),
        "support": float(support),
    }
