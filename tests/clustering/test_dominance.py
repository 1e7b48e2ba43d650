"""Regions of a slice beside its most relevant one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.clustering.dominance import TOP_PIXELS, dominant

LOW = 0.15


def two_regions(second: float) -> torch.Tensor:
    relevance = torch.zeros(1, 1, 16, 16)
    relevance[0, 0, 1:7, 1:7] = 0.8
    relevance[0, 0, 10:14, 10:14] = second
    return relevance


def test_a_region_much_less_relevant_than_the_best_goes() -> None:
    kept = dominant(two_regions(0.5), LOW, 0.7)
    assert torch.equal(kept, two_regions(0.0))


def test_a_second_lesion_stays() -> None:
    assert torch.equal(dominant(two_regions(0.6), LOW, 0.7), two_regions(0.6))


def test_a_weak_rim_of_the_best_region_stays() -> None:
    relevance = two_regions(0.0)
    relevance[0, 0, 7, 1:9] = 0.2
    assert torch.equal(dominant(relevance, LOW, 0.7), relevance)


def test_slices_and_classes_are_judged_alone() -> None:
    both = torch.cat([two_regions(0.5), two_regions(0.5) / 2])
    stacked = torch.cat([both, both.flip(0)], dim=1)
    kept = dominant(stacked, LOW, 0.7)
    for row in range(2):
        for channel in range(2):
            alone = dominant(stacked[row, channel][None, None], LOW, 0.7)
            assert torch.equal(kept[row, channel], alone[0, 0])


def test_a_few_bright_pixels_do_not_outshine_the_rest() -> None:
    relevance = two_regions(0.6)
    relevance[0, 0, 15, :3] = 1.0  # fewer than TOP_PIXELS_PIXELS
    assert TOP_PIXELS > 3
    assert torch.equal(dominant(relevance, LOW, 0.7), relevance)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16), st.floats(0, 1))
def test_regions_stay_whole_or_go(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    relevance = torch.rand(2, 1, 12, 12, generator=generator)
    relevance = torch.where(relevance > 0.6, relevance, 0.0)
    relevance[:, :, 0] = -1.0  # unknown
    kept = dominant(relevance, LOW, share)
    changed = kept != relevance
    assert (kept[changed] == 0).all()
    assert (relevance[changed] > LOW).all()
    assert torch.equal(dominant(relevance, LOW, 0), relevance)
    assert torch.equal(kept.flip(-1), dominant(relevance.flip(-1), LOW, share))
