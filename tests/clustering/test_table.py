"""The table of clusters: after a refresh, in checkpoints, and beside what was mapped."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from wsseg.clustering import ClusteringOptions, ClusterTable, EvidenceScorer
from wsseg.clustering.refresh import Refresh
from wsseg.utils.distributed import Collective
from wsseg.utils.map_folder import MapFolder


@pytest.fixture
def work(toys: ModuleType, tmp_path: Path) -> Refresh:
    options = ClusteringOptions(n_clusters=12, n_clusterings=2, smoothing=0.0)
    folder = MapFolder(tmp_path)
    return Refresh(toys.ToySource(classes=2), options, EvidenceScorer(), (), folder, Collective())


def test_every_cluster_has_a_row_for_each_class(work: Refresh) -> None:
    work.run()
    assert work.table is not None
    rows = work.table.rows(["left", "right"])
    assert len(rows) == 2 * 2 * 12
    for clustering in (0, 1):
        sizes = [row.size for row in rows if row.clustering == clustering]
        assert sum(sizes) == pytest.approx(2, abs=1e-4)  # once for each class
    relevant = [row for row in rows if row.decision == "relevant"]
    count = work.report["relevant_clusters"] * 4  # which is a mean over clusterings and classes
    assert len(relevant) == pytest.approx(count)
    for row in relevant:
        assert row.purity > 0.9
        assert row.activation > 0.5
        assert row.relevance > EvidenceScorer.high
        assert row.slices > 1
        assert row.cases > 1


def test_it_survives_a_checkpoint(work: Refresh, tmp_path: Path) -> None:
    work.run()
    assert work.table is not None
    torch.save(work.table.state_dict(), tmp_path / "table.ckpt")
    again = ClusterTable.from_state(torch.load(tmp_path / "table.ckpt", weights_only=True))
    assert again.rows(["a", "b"]) == work.table.rows(["a", "b"])


def test_labels_are_those_that_maps_are_made_of(work: Refresh, toys: ModuleType) -> None:
    clusters, _ = work.run()
    assert clusters is not None
    batch = next(iter(toys.ToySource(classes=2).embed([0, 3])))
    labels = clusters.labels(batch)
    assert labels.shape == (int(batch.valid.sum()), 2)
    votes = clusters.votes[torch.arange(2), labels].sum(dim=1)  # [n, C], without smoothing
    found = clusters.relevance(batch).permute(0, 2, 3, 1)[batch.valid]
    tagged = batch.tags.repeat_interleave(batch.valid.flatten(1).sum(dim=1), dim=0) > 0
    torch.testing.assert_close(found[tagged], votes.clamp(0, 1)[tagged])
