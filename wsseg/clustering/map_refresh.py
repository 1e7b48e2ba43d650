"""Writing the maps of all training slices, the part that every kind of refresh has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from wsseg.clustering.checks import check_distinct
from wsseg.clustering.clusters import Clusters
from wsseg.clustering.mapping import MapMaker, MapWriter
from wsseg.clustering.regions import Regions
from wsseg.clustering.scorers import Scorer
from wsseg.clustering.selection import case_runs, process_positions, process_runs
from wsseg.clustering.source import EmbeddingSource
from wsseg.clustering.table import ClusterTable
from wsseg.utils.distributed import Collective
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_folder import MapFolder

Plane = tuple[int, int, int]  # classes, height, width


class MapRefresh:
    """Writes the maps of the training slices; every process has its own object.

    Attributes:
        report: Numbers to log, filled by ``run``.
        table: What was found of each cluster; None before ``run``, and of regions.
    """

    def __init__(
        self,
        source: EmbeddingSource,
        scorer: Scorer,
        folder: MapFolder | None,
        collective: Collective,
    ) -> None:
        """Set what is mapped, and where to.

        Args:
            source: Embeds the training slices.
            scorer: Its thresholds say which relevance makes a target.
            folder: Folder for the file of maps; None to write none.
            collective: The processes that share the work.
        """
        self.report: dict[str, float] = {}
        self.table: ClusterTable | None = None
        self._source = source
        self._scorer = scorer
        self._folder = folder
        self._collective = collective

    def _map(
        self, clusters: MapMaker, plane: Plane, folder: MapFolder, former: MapFile | None
    ) -> MapFile:
        """Write the maps; each process writes those of some slices."""
        collective, scorer = self._collective, self._scorer
        version = 1 if former is None else former.version + 1
        file = MapFile(folder.path, (0, *plane), version)
        # Maps of a checkpoint may be of another data set, with slices of another shape.
        comparable = former is not None and former.shape[1:] == file.shape[1:]
        before = former if comparable else None
        writer = MapWriter(file, clusters, before, scorer.low, scorer.high)
        with collective.together("making the file of cluster maps"):
            if folder.owned:
                file.create()
        with collective.together("writing cluster maps"):
            self._write(writer, folder)
        count = collective.maximum(max(writer.index.tolist(), default=-1)) + 1
        pixels, relevant, changed = (collective.sum(writer.sums) / folder.copies).tolist()
        self.report["relevant_area"] = relevant / max(1.0, pixels)
        if comparable:
            self.report["churn"] = changed / max(1.0, pixels)
        return MapFile(folder.path, (count, *plane), version)

    def _write(self, writer: MapWriter, folder: MapFolder) -> None:
        """Write the maps of this process's slices.

        If the data set states tags, untagged slices are not embedded; if it states case and depth,
        too, maps are smoothed across the slices of a case.
        """
        known = self._source.known
        if known is None:
            mine = process_positions(len(self._source), folder.rank, folder.size)
            writer.write_slices(self._source.embed(mine, writer.needs_activation))
            check_distinct(writer.index)
            return
        tagged = (known.tags > 0.5).any(dim=1).cpu()
        rows, untagged = (chosen.nonzero()[:, 0] for chosen in (tagged, ~tagged))
        mine = process_positions(len(untagged), folder.rank, folder.size)
        others = untagged[list(mine)]
        writer.write_untagged(known.index[others], known.tags[others])
        if known.case is None or known.depth is None:
            mine = process_positions(len(rows), folder.rank, folder.size)
            writer.write_slices(
                self._source.embed(rows[list(mine)].tolist(), writer.needs_activation)
            )
            return
        depth = known.depth.cpu()
        runs = process_runs(case_runs(rows, known.case.cpu(), depth), folder.rank, folder.size)
        positions = [row for run in runs for row in run.tolist()]
        slices = self._source.embed(positions, writer.needs_activation)
        writer.write_runs(slices, [depth[run] for run in runs])

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Add to the report the seconds that a block takes."""
        start = time.perf_counter()
        yield
        self.report[f"seconds_{name}"] = time.perf_counter() - start


class RegionRefresh(MapRefresh):
    """Divides each training slice by itself, once.

    A network that has learnt from maps shows these maps, with their faults: choosing regions by it
    once more added nothing but more faults.
    """

    def run(
        self, previous: Clusters | None = None, former: MapFile | None = None
    ) -> tuple[None, MapFile]:
        """Write the maps of the training slices; see ``Refresh.run``."""
        assert self._folder is not None
        collective = self._collective
        mine = process_positions(len(self._source), collective.rank, collective.size)
        with self._stage("map"), collective.together("embedding a slice"):
            first = next(iter(self._source.embed([*mine][:1], features=False)), None)
        lengths = (0, 0, 0) if first is None else first.plane
        classes, height, width = (collective.maximum(length) for length in lengths)
        with self._stage("map"):
            return None, self._map(Regions(), (classes, height, width), self._folder, former)
