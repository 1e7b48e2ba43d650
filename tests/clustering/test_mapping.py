"""From what slices show by themselves to the maps of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.clustering import PixelEmbeddings
from wsseg.clustering.mapping import MapWriter, SliceMaps, regroup, smoothed_across
from wsseg.utils.map_file import MapFile
from wsseg.utils.targets import IGNORE


@dataclass
class TwoRegions:
    """Finds a region and a weaker one in every slice."""

    has_degrees: bool
    smoothing: float = 0.0
    needs_activation: bool = False

    def relevance(self, slices: PixelEmbeddings) -> torch.Tensor:
        relevance = torch.zeros(len(slices.tags), 1, 12, 12)
        relevance[..., 1:7, 1:7], relevance[..., 9:, 9:] = 1.0, 0.5
        return relevance


@pytest.mark.parametrize("has_degrees", [True, False])
def test_maps_are_written_for_all_slices_and_of_dominant_regions_only(
    tmp_path: Path, has_degrees: bool
) -> None:
    tags, image = torch.tensor([[1.0], [0.0], [torch.nan]]), torch.zeros(3, 1, 12, 12)
    batch = PixelEmbeddings(image, None, image[:, 0] == 0, tags, torch.arange(3))
    file = MapFile(tmp_path / "maps", (3, 1, 12, 12), version=0)
    file.create()
    writer = MapWriter(file, TwoRegions(has_degrees), None, low=0.15, high=0.3)
    writer.write_slices([batch])
    found = file.lookup(torch.arange(3))[:, 0]
    assert sorted(writer.index.tolist()) == [0, 1, 2]
    assert bool((found[0, 1:7, 1:7] == 1).all())
    assert bool((found[0, 9:, 9:] > 0).all()) is not has_degrees
    assert [each.unique().tolist() for each in found[1:]] == [[0.0], [IGNORE]]
    assert writer.sums.tolist() == [144, 36 if has_degrees else 45, 0]


def test_slices_without_a_class_say_nothing_about_it_in_others() -> None:
    relevance = torch.zeros(3, 2, 6, 6)
    relevance[:, 0] = relevance[1, 1] = 0.9
    tags = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    slices = SliceMaps(torch.arange(3), tags, relevance)
    found = smoothed_across(slices, torch.arange(3.0), smoothing=1.0)
    torch.testing.assert_close(found.relevance, relevance)


def test_slices_of_a_class_lend_each_other_their_relevance() -> None:
    values = torch.tensor([0.9, 0.3, 0.9])
    relevance = values[:, None, None, None].expand(3, 1, 6, 6)
    slices = SliceMaps(torch.arange(3), torch.ones(3, 1), relevance)
    found = smoothed_across(slices, torch.arange(3.0), smoothing=1.0).relevance[:, 0, 0, 0]
    assert ((found > 0.3) & (found < 0.9)).all()
    assert found[1] < found[0]


@given(st.lists(st.integers(1, 5), min_size=1), st.integers(1, 7))
def test_slices_are_regrouped_in_order(sizes: list[int], together: int) -> None:
    index = torch.arange(sum(sizes))
    parts = [SliceMaps(part, part[:, None], part[:, None]) for part in index.split(together)]
    found = [each.index.tolist() for each in regroup(parts, sizes)]
    assert [len(each) for each in found] == sizes
    assert [each for run in found for each in run] == index.tolist()
