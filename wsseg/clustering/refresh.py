"""One refresh: embed, cluster, score, map. Knows no Lightning and no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.checks import check_distinct, check_scores, check_tags
from wsseg.clustering.columns import Columns
from wsseg.clustering.deviation import find_norms, untagged_slices
from wsseg.clustering.evidence import Evidence
from wsseg.clustering.kmeans import Clustering, assign_features, fit_clusterings
from wsseg.clustering.map_folder import MapFolder
from wsseg.clustering.mapping import Changes, MapMaker, MapWriter
from wsseg.clustering.relevance import Verdict, breadth, typical_peak, weigh
from wsseg.clustering.scorers import Scorer, focus, purity
from wsseg.clustering.selection import bodies, choose_slices, choose_untagged, share, share_bodies
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.statistics import TAGGED, ClusterStatistics, empty_statistics
from wsseg.clustering.store import ClusterMaps
from wsseg.utils.distributed import Collective

UNTAGGED_SLICES = 256  # that are looked at, beside the evidence, to learn what is normal


@dataclass(frozen=True)
class Settings:
    """What a refresh is told; :class:`ClusterReSupervision` explains each."""

    scorer: Scorer
    n_clusters: int
    n_clusterings: int
    evidence_slices: int
    sample_size: int
    iterations: int
    smoothing: float
    low: float
    high: float
    dominance: float
    momentum: float
    seed: int


@dataclass(frozen=True)
class Clusters:
    """The clusterings of a refresh and the scores of their clusters.

    Attributes:
        mean: Mean of the sampled embeddings, [D].
        std: What they are divided by, [D]: their standard deviation by the columns' weights.
        centroids: In units of these, [R, K, D].
        scores: What the scorer said of every cluster and class, [R, K, C].
        votes: What a pixel's clusters add to its relevance, [R, K, C].
        leaning: How much every cluster looks like every class, [R, K, C].
        sees_asymmetry: Which clusterings saw the asymmetry, [R] bool.
        norms: What is normal at each place, [G, E, h', w']: see deviation.py.
        smoothing: Width in pixels of the Gaussian that smooths maps, [].
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor
    scores: Tensor
    votes: Tensor
    leaning: Tensor
    sees_asymmetry: Tensor
    norms: Tensor
    smoothing: Tensor

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Clusters:
        """Return the clusters in a checkpoint's state of ``ClusterReSupervision``."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})


class Refresh:
    """One refresh; every process makes its own and calls :meth:`run`."""

    def __init__(
        self, source: EmbeddingSource, settings: Settings, folder: MapFolder, collective: Collective
    ) -> None:
        """Name what the refresh works with.

        Args:
            source: Embeds the training slices.
            settings: Number of clusters, scorer and the rest.
            folder: Where the maps go.
            collective: The processes that share the work.
        """
        self.report: dict[str, float] = {}
        self._columns = Columns()
        self._source = source
        self._settings = settings
        self._folder = folder
        self._collective = collective

    def run(
        self, previous: Clusters | None = None, old: ClusterMaps | None = None
    ) -> tuple[Clusters, ClusterMaps]:
        """Cluster the training slices again and write their maps.

        Args:
            previous: The last refresh's clusters, which the new ones start from.
            old: The last refresh's maps, to be blended in and compared with.

        Returns:
            Clusters and maps, the same in every process; ``report`` holds numbers to log.

        Raises:
            InputError: The slices cannot be clustered or scored; the message says why.
        """
        settings = self._settings
        with self._stage("embed"):
            evidence, sample, norms = self._embed(previous)
        with self._stage("cluster"):
            mean, std, centroids = self._cluster(sample, previous)
        nearest = partial(assign_features, mean=mean, std=std, centroids=centroids)
        with self._stage("score"):
            scores, verdict = self._score(evidence, nearest)
        with self._stage("map"):
            smoothing = settings.smoothing * (breadth(scores) if settings.scorer.relative else 1)
            make = MapMaker(nearest, verdict, norms, smoothing, settings.low, settings.dominance)
            maps = self._map(evidence, make, old)
        placed = (mean.cpu(), std.cpu(), centroids.cpu())
        return Clusters(*placed, scores, *verdict, norms, torch.tensor(smoothing)), maps

    def _embed(self, previous: Clusters | None) -> tuple[Evidence, Tensor, Tensor]:
        """Embed some slices.

        Returns:
            What is kept here, and the sample and what is normal, which every process gets.
        """
        settings, collective, known = self._settings, self._collective, self._source.known
        tags, level = (None, None) if known is None else (known.tags, known.level)
        chosen = choose_slices(
            len(self._source), settings.evidence_slices, settings.seed, tags, level
        )
        evidence = Evidence(slices=len(chosen))
        with collective.together("embedding slices"):
            mine = share(len(chosen), collective.rank, collective.size)
            evidence.collect(self._source([chosen[number] for number in mine]))
        slices = max(1, int(collective.sum(torch.tensor(evidence.count))))
        evidence.thin_out(slices)  # an item of the data set may hold several
        # An appearance does not change in training, nor does what is normal.
        norms = None if previous is None else previous.norms
        if norms is None or not len(norms):
            norms = self._find_norms(evidence, chosen)
        with collective.together("comparing slices with what is normal"):
            evidence.compare(norms)
            # Of few pixels of many slices there must still be one for each cluster.
            quota = max(settings.sample_size // slices, -(-settings.n_clusters // slices))
            features, index = evidence.sample(quota)
        self._columns = Columns(*map(collective.maximum, evidence.columns))
        features = features.reshape(len(features), sum(self._columns))
        sample, index = collective.gather(features), collective.gather(index)
        return evidence, sample[index.argsort(stable=True).to(sample.device)], norms

    def _find_norms(self, evidence: Evidence, chosen: list[int]) -> Tensor:
        """Find what is normal at each place; nothing if the module gives no appearance."""
        collective, known = self._collective, self._source.known
        if not collective.maximum(evidence.columns.deviation):
            return torch.empty(0, 0, 0, 0)
        tags = None if known is None else known.tags
        rows = choose_untagged(len(self._source), UNTAGGED_SLICES, chosen, tags)
        with collective.together("embedding untagged slices"):
            mine = share(len(rows), collective.rank, collective.size)
            positions = [rows[number] for number in mine]
            batches = self._source(positions, activation=False, features=False)
            more = [part for batch in batches for part in untagged_slices(batch)]
        return find_norms([*evidence.untagged, *more], collective)

    def _cluster(self, sample: Tensor, previous: Clusters | None) -> tuple[Tensor, Tensor, Tensor]:
        """Standardise and cluster the sample; each process makes some of the clusterings."""
        settings, collective = self._settings, self._collective
        mean = collective.broadcast(sample.double().mean(dim=0).float())
        std = collective.broadcast(sample.double().std(dim=0, correction=0).float())
        std = torch.where(std > 1e-6, std, 1.0) / self._columns.weights().to(std)
        points = (sample - mean) / std
        # Hidden columns are 0, in centroids too, and make none nearer than another.
        shown = self._columns.shown(settings.n_clusterings).to(points)
        shape = (settings.n_clusterings, settings.n_clusters, sample.shape[1])
        start: Sequence[Tensor | None] = [None] * shape[0]
        if previous is not None and previous.centroids.shape == shape:
            start = list(previous.centroids)
        centroids = points.new_zeros(shape)
        mine = range(collective.rank, shape[0], collective.size)
        with collective.together("k-means"):
            jobs = [
                Clustering(points * shown[number], settings.seed + number, start[number])
                for number in mine
            ]
            found = fit_clusterings(jobs, shape[1], settings.iterations)
            for number, each in zip(mine, found, strict=True):
                centroids[number] = each
        return mean, std, collective.sum(centroids)

    def _score(
        self, evidence: Evidence, nearest: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Verdict]:
        """Return what the scorer says, and the verdict that follows from it."""
        settings, collective = self._settings, self._collective
        classes = collective.maximum(evidence.plane[0])
        with collective.together("assigning pixels"):
            evidence.label(nearest)
            statistics = evidence.statistics(settings.n_clusters) or empty_statistics(
                settings.n_clusterings, settings.n_clusters, classes
            )
        statistics = statistics.apply(collective.sum)
        check_tags(statistics, len(self._source))
        with collective.together("scoring clusters"):
            scores = check_scores(settings.scorer(statistics), statistics)
        scores = collective.broadcast(scores)
        leaning = collective.broadcast(purity(statistics) * focus(statistics))
        votes = scores / len(scores)
        if settings.scorer.relative:
            votes = weigh(scores)
            with collective.together("comparing slices"):
                peaks = evidence.peaks(votes)
            peak = collective.broadcast(typical_peak(collective.gather(peaks)))
            self.report["peak"] = float(peak.mean())
            votes = votes / peak
        # A cluster is relevant if pixels are that it would have in every clustering.
        self.report |= describe_scores(votes * len(votes), statistics, settings.high)
        return scores, Verdict(votes, leaning, self._columns.sees_asymmetry(len(scores)))

    def _map(
        self,
        evidence: Evidence,
        make: MapMaker,
        old: ClusterMaps | None,
    ) -> ClusterMaps:
        settings, collective, folder = self._settings, self._collective, self._folder
        classes, height, width = (collective.maximum(size) for size in evidence.plane)
        version = 1 if old is None else old.version + 1
        maps = ClusterMaps(folder.path, (0, classes, height, width), version)
        # Maps of other data (a checkpoint of another data set) say nothing about these slices.
        before = old if old is not None and old.shape[1:] == maps.shape[1:] else None
        writer = MapWriter(maps, make, before, settings.momentum)
        changes = Changes(settings.low, settings.high)
        with collective.together("making the file of cluster maps"):
            if folder.rank == 0:
                maps.create()
        with collective.together("writing cluster maps"):
            self._write(writer, changes)
        count = collective.maximum(max(writer.index.tolist(), default=-1)) + 1
        pixels, relevant, changed = (collective.sum(changes.sums) / folder.copies).tolist()
        self.report["relevant_area"] = relevant / max(1.0, pixels)
        if before is not None:
            self.report["churn"] = changed / max(1.0, pixels)
        return ClusterMaps(folder.path, (count, classes, height, width), version)

    def _write(self, writer: MapWriter, changes: Changes) -> None:
        """Write the maps of this process's slices."""
        folder, known = self._folder, self._source.known
        if known is None:
            mine = share(len(self._source), folder.rank, folder.size)
            writer.write(self._source(mine, activation=False), changes)
            check_distinct(writer.index)
            return
        tagged = (known.tags > 0.5).any(dim=1).cpu()
        shown, rest = (side.nonzero()[:, 0] for side in (tagged, ~tagged))
        writer.write_untagged(known.index[rest[list(share(len(rest), folder.rank, folder.size))]])
        if known.case is None or known.depth is None:
            mine = share(len(shown), folder.rank, folder.size)
            writer.write(self._source(shown[list(mine)].tolist(), activation=False), changes)
            return
        depth = known.depth.cpu()
        own = share_bodies(bodies(shown, known.case.cpu(), depth), folder.rank, folder.size)
        rows = [row for body in own for row in body.tolist()]
        slices = self._source(rows, activation=False)
        writer.write_bodies(slices, [depth[body] for body in own], changes)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Report the seconds that a block takes."""
        start = time.perf_counter()
        yield
        self.report[f"seconds_{name}"] = time.perf_counter() - start


def describe_scores(
    relevance: Tensor, statistics: ClusterStatistics, high: float
) -> dict[str, float]:
    """Return the mean number of relevant clusters per class, and how many cases hold them.

    Args:
        relevance: Of every cluster, [R, K, C].
        statistics: What they were made from.
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
