"""A refresh from embeddings to maps, without Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from wsseg.clustering import (
    Asymmetry,
    ClusteringOptions,
    Clusters,
    ClusterStatistics,
    Deviation,
    EvidenceScorer,
    PixelEmbeddings,
    Scorer,
    View,
)
from wsseg.clustering.deviation import coarse_slices, deviation, learn_normal
from wsseg.clustering.evidence import Evidence
from wsseg.clustering.refresh import Refresh
from wsseg.comparators import PurityScorer
from wsseg.utils.distributed import Collective
from wsseg.utils.errors import InputError
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_folder import MapFolder
from wsseg.utils.targets import IGNORE


def refresh(
    source: Any,
    folder: Path,
    previous: tuple[Clusters, MapFile] | None = None,
    scorer: Scorer | None = None,
    views: Sequence[View] = (),
    **options: Any,
) -> tuple[Clusters, MapFile, dict[str, float]]:
    chosen = ClusteringOptions(**{"n_clusters": 6, "n_clusterings": 3, "smoothing": 0.0, **options})
    scorer = scorer or EvidenceScorer()
    work = Refresh(source, chosen, scorer, views, MapFolder(folder), Collective())
    clusters, maps = work.run(*(previous or (None, None)))
    return clusters, maps, work.report


class Changed:
    """A source whose batches are changed, of slices that nothing is known of beforehand."""

    known, per_item = None, 1

    def __init__(self, source: Any, change: Callable[[PixelEmbeddings], PixelEmbeddings]) -> None:
        self.source, self.change = source, change

    def __len__(self) -> int:
        return len(self.source)

    def embed(self, *wanted: Any, **also: Any) -> Iterator[PixelEmbeddings]:
        return map(self.change, self.source.embed(*wanted, **also))


@pytest.mark.parametrize("classes", [1, 3])
def test_finds_the_objects(toys: ModuleType, tmp_path: Path, classes: int) -> None:
    source = toys.ToySource(classes=classes)
    clusters, maps, report = refresh(source, tmp_path, n_clusters=12)
    found = maps.lookup(torch.arange(24))
    assert clusters.centroids.shape == (3, 12, 4)
    assert clusters.scores.shape == (3, 12, classes)
    for c in range(classes):
        tagged = source.tags[:, c] > 0
        inside, valid = source.objects[tagged][:, c], source.valid[tagged]
        relevance = found[tagged][:, c]
        assert float((relevance[inside] > 0.55).float().mean()) > 0.9
        assert float((relevance[valid & ~inside] < 0.4).float().mean()) > 0.9
        assert bool((relevance[~valid] == IGNORE).all())
        assert not found[~tagged][:, c].any()
    assert report["relevant_clusters"] >= 1
    assert report["support"] > 1
    assert 0 < report["relevant_area"] < 0.3
    assert "churn" not in report


@pytest.mark.parametrize("known", ["nothing", "tags", "cases"])
def test_unknown_tags_leave_maps_open(toys: ModuleType, tmp_path: Path, known: str) -> None:
    source = toys.ToySource(count=40, classes=2)
    unknown = torch.tensor([4, 5, 6, 7])  # without any class, with either, and with both
    source.tags[unknown, 0] = torch.nan
    if known != "nothing":
        source.know(cases=known == "cases")
    _, maps, _ = refresh(source, tmp_path, n_clusters=12)
    found = maps.lookup(torch.arange(40))
    assert bool((found[unknown, 0] == IGNORE).all())
    assert not found[[4, 5], 1].any()
    for c in range(2):
        tagged = source.tags[:, c] > 0
        inside, relevance = source.objects[tagged][:, c], found[tagged][:, c]
        assert float((relevance[inside] > 0.55).float().mean()) > 0.9
        assert not found[source.tags[:, c] == 0][:, c].any()


def test_same_input_same_maps_whatever_the_batches(toys: ModuleType, tmp_path: Path) -> None:
    results = []
    for number, batch_size in enumerate((5, 24)):
        source = toys.ToySource()
        source.batch_size = batch_size
        folder = tmp_path / str(number)
        folder.mkdir()
        results.append(refresh(source, folder))
    (left, left_maps, _), (right, right_maps, _) = results
    for name in ("mean", "scale", "centroids", "scores"):
        assert torch.equal(getattr(left, name), getattr(right, name))
    assert left_maps.path.read_bytes() == right_maps.path.read_bytes()


def test_a_small_sample_still_has_a_pixel_for_each_cluster(
    toys: ModuleType, tmp_path: Path
) -> None:
    clusters, _, _ = refresh(toys.ToySource(), tmp_path, n_clusters=40, sample_size=40)
    assert clusters.centroids.shape[1] == 40


def test_items_of_several_slices_take_no_more_memory(toys: ModuleType, tmp_path: Path) -> None:
    """As of a data set of volumes: bounds hold for the slices in them."""

    class Volumes(toys.ToySource):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return super().__len__() // 8

        def embed(self, positions: Any, *wanted: Any, **also: Any) -> Any:
            slices = [8 * position + part for position in positions for part in range(8)]
            return super().embed(slices, *wanted, **also)

    source = Volumes(64)
    evidence = Evidence(slices=len(source), most_pixels=1280)
    evidence.collect(source.embed(range(len(source))))
    assert evidence.count == 64
    evidence.thin_out(evidence.count)
    assert len(evidence.sample(10**6)[0]) == 1280
    _, maps, _ = refresh(source, tmp_path)
    assert (maps.lookup(torch.arange(64)) != IGNORE).any(dim=(1, 2, 3)).all()


def test_wide_embeddings_take_no_more_memory(toys: ModuleType) -> None:
    for dimensions in (4, 20):
        source = toys.ToySource(dimensions=dimensions)
        evidence = Evidence(slices=len(source), most_values=6000)
        evidence.collect(source.embed(range(len(source))))
        columns, _ = evidence.sample(10**6)
        assert 5000 < columns.numel() <= 6000


def test_untagged_slices_are_not_embedded_if_tags_are_known(
    toys: ModuleType, tmp_path: Path
) -> None:
    results = []
    for known in (False, True):
        source = toys.ToySource()
        if known:
            source.know()
        folder = tmp_path / str(known)
        folder.mkdir()
        results.append((refresh(source, folder)[1].path.read_bytes(), source.embedded))
    (plain, all_), (quick, fewer) = results
    assert quick == plain
    assert (all_, fewer) == (24 + 24, 24 + 12)


@pytest.mark.parametrize("batch_size", [1, 5, 24])
def test_slices_of_a_case_are_smoothed_together(
    toys: ModuleType, tmp_path: Path, batch_size: int
) -> None:
    """Of two tagged slices in four, 3 pixels apart, one shows nothing, then the other tells."""
    alone, together = toys.ToySource(), toys.ToySource()
    for source, cases in ((alone, False), (together, True)):
        source.batch_size = batch_size
        source.features[1::4, 0] -= 12.0 * source.objects[1::4, 0]
        source.know(cases)
    found = []
    for number, source in enumerate((alone, together)):
        folder = tmp_path / str(number)
        folder.mkdir()
        maps = refresh(source, folder, smoothing=2.0)[1]
        found.append(maps.lookup(torch.arange(24))[:, 0])
    for hidden in range(1, 24, 4):
        inside = alone.objects[hidden, 0] & alone.valid[hidden]
        assert float(found[1][hidden][inside].mean()) > float(found[0][hidden][inside].mean()) + 0.1
    assert not found[1][0::2].any(), "tags have the last word"
    assert bool((found[1] < 0).eq(found[0] < 0).all()), "what is unknown stays so"


def test_smoothing_ends_with_the_case(toys: ModuleType, tmp_path: Path) -> None:
    """Far apart in it, slices are as good as alone."""
    found = []
    for number, scale in enumerate((0.0, 100.0)):
        source = toys.ToySource()
        source.know(cases=scale > 0)
        if scale:
            source.known.depth.mul_(scale)
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(refresh(source, folder, smoothing=1.0)[1].path.read_bytes())
    assert found[0] == found[1]


def test_evidence_of_some_slices_finds_the_objects_in_all(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource(count=96)
    source.know()
    _, maps, _ = refresh(source, tmp_path, evidence_slices=24)
    assert source.embedded == 24 + 48
    tagged = source.tags[:, 0] > 0
    found = maps.lookup(torch.arange(96))[tagged][:, 0][source.objects[tagged][:, 0]]
    assert float((found > 0.55).float().mean()) > 0.9


def test_second_refresh_starts_from_the_first(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource()
    clusters, maps, _ = refresh(source, tmp_path)
    again, more, report = refresh(source, tmp_path, (clusters, maps), iterations=1)
    assert more.version == maps.version + 1
    assert torch.allclose(again.centroids, clusters.centroids, atol=0.2)
    assert report["churn"] < 0.05


def test_maps_of_other_data_are_not_compared_with(toys: ModuleType, tmp_path: Path) -> None:
    other = MapFile(tmp_path, (3, 1, 5, 5), 1)
    other.create()
    clusters, _, _ = refresh(toys.ToySource(), tmp_path)
    _, maps, report = refresh(toys.ToySource(), tmp_path, (clusters, other))
    assert maps.shape == (24, 1, 12, 12)
    assert "churn" not in report


def test_many_clusters_need_two_bytes(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource()
    _, maps, _ = refresh(source, tmp_path, n_clusters=300, n_clusterings=1, scorer=PurityScorer())
    found = maps.lookup(torch.tensor([1]))[0, 0]
    assert float((found[source.objects[1, 0]] > 0.55).float().mean()) > 0.9


@pytest.mark.parametrize(("tag", "kind"), [(0.0, "tagged"), (1.0, "untagged")])
def test_classes_that_tags_say_nothing_about(
    toys: ModuleType, tmp_path: Path, tag: float, kind: str
) -> None:
    source = toys.ToySource(classes=2)
    source.tags[:, 1] = tag
    with pytest.raises(InputError, match=f"no training slice is {kind} for class 1"):
        refresh(source, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_rare_class_that_was_not_looked_at(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource(classes=2)
    source.tags[:, 1] = 0
    source.tags[7, 1] = 1
    with pytest.raises(
        InputError, match=r"class 1 among the 4 that were looked at .evidence_slices"
    ):
        refresh(source, tmp_path, evidence_slices=4)
    source.know()
    refresh(source, tmp_path, evidence_slices=4)


def test_more_clusters_than_pixels(toys: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5000 clusters of 3168 pixels"):
        refresh(toys.ToySource(), tmp_path, n_clusters=5000, sample_size=5000)


def test_values_that_are_not_finite(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource()
    source.activation[3] = float("nan")
    with pytest.raises(InputError, match="activation holds NaN"):
        refresh(source, tmp_path)
    source.features[3] = float("nan")
    with pytest.raises(InputError, match="embeddings hold NaN"):
        refresh(source, tmp_path)


def test_slices_that_share_an_index(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource()

    twice = Changed(source, lambda batch: batch._replace(index=batch.index // 2))
    with pytest.raises(InputError, match="share the index 0"):
        refresh(twice, tmp_path)


class Broken(Scorer):
    """Returns a constant of the wrong range or shape."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __call__(self, statistics: ClusterStatistics) -> torch.Tensor:
        return self.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2), "returned"),
        (torch.full((3, 6, 1), 2.0), "outside"),
        (torch.full((3, 6, 1), float("nan")), "outside"),
    ],
)
def test_scorers_that_misbehave(
    toys: ModuleType, tmp_path: Path, value: torch.Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        refresh(toys.ToySource(), tmp_path, scorer=Broken(value))


class Told(Asymmetry):
    """The asymmetry as the image tells it, to see what becomes of it."""

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        assert slices.image is not None
        return slices.image


def test_every_second_clustering_sees_the_asymmetry(toys: ModuleType, tmp_path: Path) -> None:
    """Features are noise here; only the asymmetry shows the objects."""
    source = toys.ToySource()

    def noisy(batch: PixelEmbeddings) -> PixelEmbeddings:
        noise = torch.rand(batch.features.shape, generator=torch.manual_seed(0))
        return batch._replace(features=noise, image=batch.features)

    clusters, maps, _ = refresh(
        Changed(source, noisy), tmp_path, views=[Told()], n_clusters=12, n_clusterings=4
    )
    assert clusters.centroids.shape == (4, 12, 8)
    assert not clusters.centroids[0::2, :, 4:].any()
    assert clusters.centroids[1::2, :, 4:].any()
    best = clusters.scores.amax(dim=(1, 2))
    assert bool((best[1::2] > 2 * best[0::2]).all())
    tagged = source.tags[:, 0] > 0
    found = maps.lookup(torch.arange(24))[tagged][:, 0][source.objects[tagged][:, 0]]
    assert float((found > 0.2).float().mean()) > 0.8


def test_clusters_see_what_is_out_of_place(toys: ModuleType, tmp_path: Path) -> None:
    """The object looks like tissue that lies elsewhere in every slice; features show no more."""
    source = toys.ToySource(count=48, size=24)
    source.case, source.level = torch.arange(48), torch.zeros(48, dtype=torch.int64)
    draw = torch.Generator().manual_seed(0)
    tissue = 0.1 * torch.randn(48, 1, 24, 24, generator=draw)
    tissue[:, :, 14:] += 3.0
    objects = torch.zeros(48, 24, 24, dtype=torch.bool)
    objects[source.tags[:, 0] > 0, 2:10, 8:16] = True
    tissue[:, 0][objects] += 3.0

    def out_of_place(batch: PixelEmbeddings) -> PixelEmbeddings:
        flat = None if batch.activation is None else torch.full_like(batch.activation, 0.5)
        image = tissue[batch.index]
        return batch._replace(features=image, activation=flat, image=image)

    class OutOfPlace(Deviation):
        """The deviation of the image itself: the objects are smaller than its surroundings."""

        def learn(self, untagged: Any, collective: Any) -> Tensor:
            return learn_normal([coarse_slices(each, each.image) for each in untagged], collective)

        def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
            assert slices.image is not None
            return deviation(slices.image, learned, slices.levels)

    def reached(views: Sequence[View]) -> float:
        changed = Changed(source, out_of_place)
        _, maps, _ = refresh(changed, tmp_path, views=views, n_clusters=12, n_clusterings=4)
        tagged = source.tags[:, 0] > 0
        found = maps.lookup(torch.arange(48))[tagged][:, 0] > 0.2
        wanted = objects[tagged] & source.valid[tagged]
        return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()).clamp_min(1))

    assert reached([OutOfPlace()]) > 0.8
    assert reached([]) < 0.5


def test_a_checkpoint_maps_slices_as_the_refresh_did(toys: ModuleType, tmp_path: Path) -> None:
    source = toys.ToySource(count=48)
    source.be_comparable()
    views = [Deviation()]
    clusters, maps, _ = refresh(source, tmp_path, views=views, n_clusterings=4, smoothing=1.0)
    assert clusters.learned[0].isfinite().any()
    tagged = source.tags[:, 0] > 0
    (batch,) = source.embed(tagged.nonzero()[:5, 0].tolist())
    found = Clusters.from_state(clusters.state_dict(), views).relevance(batch)
    torch.testing.assert_close(found, maps.lookup(batch.index), atol=0.005, rtol=0)


class Undecided(Scorer):
    """Says 0.9 of the cluster that is most frequent in tagged slices, and nothing of others."""

    def __call__(self, statistics: ClusterStatistics) -> torch.Tensor:
        scores = PurityScorer()(statistics)
        return torch.where(scores == scores.amax(dim=1, keepdim=True), 0.9, 0.5)


def test_scores_that_are_not_relative_count_for_what_they_are(
    toys: ModuleType, tmp_path: Path
) -> None:
    """Relative to the best cluster, those of which nothing is known would pass for relevant."""
    source = toys.ToySource()
    _, maps, report = refresh(source, tmp_path, scorer=Undecided())
    tagged = source.tags[:, 0] > 0
    relevance = maps.lookup(torch.arange(24))[tagged, 0]
    inside = source.objects[tagged, 0]
    assert float((relevance[inside] > 0.5).float().mean()) > 0.9
    assert not bool((relevance[source.valid[tagged] & ~inside] > 0.5).any())
    assert "peak" not in report
