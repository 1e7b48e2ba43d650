"""From what slices show by themselves to the maps of a body."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.mapping import MapMaker, SliceMaps
from wsseg.clustering.relevance import Verdict


def settle(relevance: Tensor, tags: Tensor, depth: Tensor | None, **settings: Any) -> Tensor:
    verdict = Verdict(*[torch.empty(0)] * 3)
    make = MapMaker(lambda features: features, verdict, torch.empty(0), **settings)
    return make.settle(SliceMaps(torch.arange(len(tags)), tags, relevance), depth)


def test_slices_without_a_class_say_nothing_about_it_in_others() -> None:
    relevance = torch.zeros(3, 2, 6, 6)
    relevance[:, 0] = relevance[1, 1] = 0.9
    tags = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    found = settle(relevance, tags, torch.arange(3.0), smoothing=1.0, low=0.15, dominance=0.0)
    torch.testing.assert_close(found, relevance)


def test_regions_are_apart_where_relevance_between_them_is_low() -> None:
    relevance = torch.full((1, 1, 12, 30), 0.1)
    relevance[..., 2:9, 2:9], relevance[..., 2:9, 20:27] = 0.9, 0.4
    found = settle(relevance, torch.ones(1, 1), None, smoothing=0.0, low=0.15, dominance=0.7)
    assert found[..., 2:9, 2:9].all()
    assert not found[..., 2:9, 20:27].any()
