"""One refresh: embed, cluster, score, map. Knows no Lightning and no model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from wsseg.clustering.checks import check_scores, check_tags, describe_scores
from wsseg.clustering.collective import Collective
from wsseg.clustering.embeddings import valid_pixels
from wsseg.clustering.kmeans import assign, fit_kmeans
from wsseg.clustering.labelling import Changes, LabelledSlices
from wsseg.clustering.place import Place
from wsseg.clustering.relevance import Verdict
from wsseg.clustering.scorers import Scorer, focus, purity
from wsseg.clustering.source import Source, choose_slices, sample_rows, share
from wsseg.clustering.statistics import empty_statistics, merge
from wsseg.clustering.store import ClusterMaps


@dataclass(frozen=True)
class Settings:
    """What a refresh is told; :class:`ClusterReSupervision` explains each."""

    scorer: Scorer
    n_clusters: int = 64
    n_clusterings: int = 4
    sample_size: int = 100_000
    iterations: int = 20
    smoothing: float = 1.0
    low: float = 0.15
    high: float = 0.2
    dominance: float = 0.7
    momentum: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Clusters:
    """The clusterings of a refresh and the judgement of their clusters.

    Attributes:
        mean: Mean of the sampled embeddings, [D].
        std: Their standard deviation, [D].
        centroids: In units of these, [R, K, D].
        scores: Relevance of every cluster to every class, [R, K, C].
        leaning: How much every cluster looks like every class, [R, K, C].
        sees_asymmetry: Which clusterings saw the asymmetry, [R] bool.
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor
    scores: Tensor
    leaning: Tensor
    sees_asymmetry: Tensor

    @property
    def verdict(self) -> Verdict:
        """What maps are made of."""
        return Verdict(self.scores, self.leaning, self.sees_asymmetry)


class Refresh:
    """One refresh; every process makes its own and calls :meth:`run`."""

    def __init__(
        self, source: Source, settings: Settings, place: Place, collective: Collective
    ) -> None:
        """Name what the refresh works with.

        Args:
            source: Embeds the training slices.
            settings: Number of clusters, scorer and the rest.
            place: Where the maps go.
            collective: The processes that share the work.
        """
        self.report: dict[str, float] = {}
        self._extra = 0  # dimensions of the asymmetry
        self._source = source
        self._settings = settings
        self._place = place
        self._collective = collective

    def run(
        self, previous: Clusters | None = None, old: ClusterMaps | None = None
    ) -> tuple[Clusters, ClusterMaps]:
        """Cluster the training slices anew and write their maps.

        Args:
            previous: The last refresh's clusters, which the new ones start from.
            old: The last refresh's maps, to be blended in and compared with.

        Returns:
            Clusters and maps, the same in every process; ``report`` holds numbers to log.

        Raises:
            ClusteringError: The slices cannot be clustered or scored; the message says why.
        """
        with self._stage("sample"):
            sample = self._sample()
        with self._stage("cluster"):
            mean, std, centroids = self._cluster(sample, previous)
        with tempfile.TemporaryFile(dir=self._place.folder) as file:
            labelled = LabelledSlices(file, self._settings.n_clusters)
            with self._stage("assign"):
                self._label(labelled, mean, std, centroids)
            with self._stage("score"):
                verdict = self._score(labelled)
            with self._stage("map"):
                maps = self._map(labelled, verdict, old)
        return Clusters(mean.cpu(), std.cpu(), centroids.cpu(), *verdict), maps

    def _sample(self) -> Tensor:
        """Return the embeddings of a bounded sample of pixels, the same in every process."""
        others = self._collective
        positions, quota = choose_slices(
            len(self._source), self._settings.sample_size, self._settings.seed
        )
        mine = share(len(positions), others.rank, others.size)
        features, keys, extra = [], [], 0
        with others.together("sampling pixels"):
            for batch in self._source([positions[number] for number in mine]):
                extra = 0 if batch.asymmetry is None else batch.asymmetry.shape[1]
                pixels = valid_pixels(batch)
                chosen = sample_rows(pixels.row, quota)
                features.append(pixels.features[chosen])
                keys.append(batch.index.to(chosen.device)[pixels.row[chosen]])
        dimensions = others.maximum(features[0].shape[1] if features else 0)
        sample = others.gather(torch.cat(features or [torch.empty(0, dimensions)]))
        self._extra = others.maximum(extra)
        slices = others.gather(torch.cat(keys or [torch.empty(0, dtype=torch.int64)]))
        return sample[slices.argsort(stable=True)]

    def _cluster(self, sample: Tensor, previous: Clusters | None) -> tuple[Tensor, Tensor, Tensor]:
        """Standardise and cluster the sample; each process makes some of the clusterings."""
        settings, others = self._settings, self._collective
        mean = others.broadcast(sample.double().mean(dim=0).float())
        std = others.broadcast(sample.double().std(dim=0, correction=0).float())
        std = torch.where(std > 1e-6, std, 1.0)
        points = (sample - mean) / std
        plain = self._hide_asymmetry(points)
        shape = (settings.n_clusterings, settings.n_clusters, sample.shape[1])
        start: Sequence[Tensor | None] = [None] * shape[0]
        if previous is not None and previous.centroids.shape == shape:
            start = list(previous.centroids)
        centroids = points.new_zeros(shape)
        with others.together("k-means"):
            for number in range(others.rank, shape[0], others.size):
                seen = points if self._sees_asymmetry[number] else plain
                centroids[number] = fit_kmeans(
                    seen, shape[1], settings.seed + number, settings.iterations, start[number]
                )
        return mean, std, others.sum(centroids)

    def _label(
        self, labelled: LabelledSlices, mean: Tensor, std: Tensor, centroids: Tensor
    ) -> None:
        mine = share(len(self._source), self._place.rank, self._place.size)

        def nearest(features: Tensor) -> Tensor:
            return assign((features - mean) / std, centroids)

        with self._collective.together("assigning pixels"):
            labelled.label(self._source(mine), nearest)

    def _score(self, labelled: LabelledSlices) -> Verdict:
        settings, others = self._settings, self._collective
        classes = others.maximum(labelled.plane[0])
        statistics = labelled.statistics or empty_statistics(
            settings.n_clusterings, settings.n_clusters, classes
        )
        # A machine with maps of its own has seen all slices: count them once.
        statistics = merge(statistics, lambda part: others.sum(part) / self._place.copies)
        check_tags(statistics)
        with others.together("scoring clusters"):
            scores = check_scores(settings.scorer(statistics), statistics)
        self.report |= describe_scores(scores, statistics, settings.high)
        leaning = purity(statistics) * focus(statistics)
        return Verdict(others.broadcast(scores), others.broadcast(leaning), self._sees_asymmetry)

    def _map(
        self, labelled: LabelledSlices, verdict: Verdict, old: ClusterMaps | None
    ) -> ClusterMaps:
        settings, others, place = self._settings, self._collective, self._place
        count = others.maximum(labelled.top) + 1
        classes, height, width = (others.maximum(size) for size in labelled.plane)
        version = 1 if old is None else old.version + 1
        maps = ClusterMaps(place.folder, (count, classes, height, width), version)
        # Maps of other data (a checkpoint of another data set) say nothing about these slices.
        before = old if old is not None and old.shape == maps.shape else None
        changes = Changes(settings.low, settings.high)
        with others.together("making the file of cluster maps"):
            if place.rank == 0:
                maps.create()
        with others.together("writing cluster maps"):
            for new, was in labelled.write(
                maps,
                verdict,
                settings.smoothing,
                settings.low,
                settings.dominance,
                settings.momentum,
                before,
            ):
                changes.add(new, was)
        pixels, relevant, changed = (others.sum(changes.sums) / place.copies).tolist()
        self.report["relevant_area"] = relevant / max(1.0, pixels)
        if before is not None:
            self.report["churn"] = changed / max(1.0, pixels)
        return maps

    @property
    def _sees_asymmetry(self) -> Tensor:
        """Every second clustering sees the asymmetry, where there is any."""
        return (torch.arange(self._settings.n_clusterings) % 2 == 1) & (self._extra > 0)

    def _hide_asymmetry(self, points: Tensor) -> Tensor:
        """Set it to 0: centroids then are 0 there too, and it makes none nearer than another."""
        if not self._extra:
            return points
        plain = points.clone()
        plain[:, -self._extra :] = 0
        return plain

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Report the seconds that a block takes."""
        start = time.perf_counter()
        yield
        self.report[f"seconds_{name}"] = time.perf_counter() - start
