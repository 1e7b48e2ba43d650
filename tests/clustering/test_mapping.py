"""From what slices show by themselves to the maps of a case."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.clustering.mapping import SliceMaps, regroup, smoothed_across


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
