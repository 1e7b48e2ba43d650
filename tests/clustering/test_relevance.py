"""Maps from the labels of pixels and the votes of clusters."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.clustering import Asymmetry
from wsseg.clustering.relevance import (
    CLEAR_SCORE,
    FAINT_SCORE,
    relevance_map,
    slice_peaks,
    smoothing_factor,
    typical_peak,
    votes_of,
)
from wsseg.utils.targets import IGNORE


def judged(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Votes and likeness."""
    return votes_of(scores), scores


def whole(*labels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One slice, all of the same clusters."""
    return torch.tensor(labels).expand(1, 5, 6, -1), torch.ones(1, 5, 6).bool(), torch.ones(1, 1)


def test_tags_overrule_clusters_and_invalid_pixels_are_ignored() -> None:
    labels = torch.zeros(2, 3, 3, 1, dtype=torch.int64)
    valid = torch.ones(2, 3, 3, dtype=torch.bool)
    valid[:, 0] = False
    tags = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = relevance_map(labels[valid], valid, tags, *judged(torch.ones(1, 1, 2)))
    assert bool((found[0, 0, 1:] == 1).all())
    assert bool((found[0, 0, 0] == IGNORE).all())
    assert not found[0, 1].any()
    assert not found[1].any()


def test_equal_clusterings_have_equal_votes() -> None:
    scores = torch.tensor([[0.8, 0.0], [0.8, 0.4]])[..., None]
    labels, valid, tags = whole(0, 1)
    found = relevance_map(labels[valid], valid, tags, *judged(scores))
    torch.testing.assert_close(found, torch.full((1, 1, 5, 6), (0.8 + 0.4) / 2 / 0.8))


def test_a_clustering_that_has_found_nothing_has_no_vote() -> None:
    scores = torch.tensor([[0.5, 0.1], [0.0, 0.0]])[..., None]
    labels, valid, tags = whole(0, 0)
    torch.testing.assert_close(
        relevance_map(labels[valid], valid, tags, *judged(scores)), torch.ones(1, 1, 5, 6)
    )


def test_where_none_has_found_anything_nothing_is_relevant() -> None:
    labels, valid, tags = whole(0, 0)
    found = relevance_map(labels[valid], valid, tags, *judged(torch.full((2, 3, 1), 0.01)))
    assert float(found.max()) < 0.02


def test_what_lies_opposite_a_lesion_is_no_lesion() -> None:
    """The clustering that sees asymmetry (cluster 1) cannot tell them apart; the other can."""
    labels = torch.zeros(1, 20, 20, 2, dtype=torch.int64)
    labels[:, 5:15, 1:8] = torch.tensor([1, 1])  # the lesion
    labels[:, 5:15, 12:19] = torch.tensor([0, 1])  # what lies opposite
    valid, tags = torch.ones(1, 20, 20, dtype=torch.bool), torch.ones(1, 1)
    scores = torch.tensor([[0.0, 0.05], [0.0, 0.6]])[..., None]
    likeness = torch.tensor([[0.2, 0.6], [0.0, 0.0]])[..., None]
    found = relevance_map(labels[valid], valid, tags, votes_of(scores), likeness, [Asymmetry()])[
        0, 0
    ]
    assert found[10, 4] > 0.9
    assert found[10, 15] < 0.4
    assert found[1, 1] == 0


def test_relevance_is_relative_to_the_peak() -> None:
    scores = torch.tensor([[0.8, 0.0], [0.8, 0.4]])[..., None]
    labels, valid, tags = whole(1, 1)  # votes of 0 and 0.25
    for peak, expected in ((1.0, 0.25), (0.5, 0.5), (0.2, 1.0)):
        found = relevance_map(labels[valid], valid, tags, votes_of(scores) / peak, scores)
        torch.testing.assert_close(found, torch.full((1, 1, 5, 6), expected))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_vague_maps_are_smoothed_more(best: list[float]) -> None:
    """The better the best cluster of all, the less; never less than asked, nor twice as much."""
    widths = [smoothing_factor(torch.full((2, 3, 1), score)) for score in sorted(best)]
    assert widths == sorted(widths, reverse=True)
    assert all(1 <= width <= 2 for width in widths)
    mixed = torch.tensor([[0.1, CLEAR_SCORE, 0.0], [0.1, 0.0, 0.0]])[..., None]
    assert smoothing_factor(mixed) == 1
    assert smoothing_factor(mixed * 0.1) == 2


def test_smoothing_wears_nothing_away_at_the_edge_of_anatomy() -> None:
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, 2:6, 2:6] = True
    labels, sure = torch.zeros(16, 1, dtype=torch.int64), judged(torch.ones(1, 1, 1))
    found = relevance_map(labels, valid, torch.ones(1, 1), *sure, smoothing=1.0)
    torch.testing.assert_close(found[valid[:, None]], torch.ones(16))


@given(st.floats(0.2, 1.0), st.integers(0, 2**31))
def test_votes_depend_on_no_scale_and_add_up_to_at_most_one(scale: float, seed: int) -> None:
    scores = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(seed)) * 0.5 + 0.5
    votes = votes_of(scores)
    assert float(votes.amax(dim=1).sum(dim=0).max()) <= 1 + 1e-6
    torch.testing.assert_close(votes_of(scores * scale), votes)


def test_a_slice_reaches_what_its_best_pixels_reach() -> None:
    """300 pixels in each slice: three of them, one in a hundred, make its peak."""
    votes = torch.tensor([[[0.1], [0.9]], [[0.0], [0.1]]])
    labels = torch.zeros(900, 2, dtype=torch.int64)
    labels[[5, 80, 299], :] = 1  # the first slice: votes of 1.0 and, elsewhere, 0.1
    labels[300, :] = 1  # the second: one such pixel, by chance
    labels[600:] = 1  # the third, which is not tagged
    row = torch.arange(900) // 300
    peaks = slice_peaks(labels, row, votes, torch.tensor([[1.0], [1.0], [0.0], [1.0]]))
    torch.testing.assert_close(peaks[:2, 0], torch.tensor([1.0, 1.2 / 3]))
    assert bool(peaks[2:].isnan().all())  # not tagged, no pixels


def test_the_typical_peak_is_the_median_of_tagged_slices() -> None:
    nan = math.nan
    peaks = torch.tensor([[0.9, nan, 0.01], [0.5, nan, nan], [0.4, nan, nan], [nan, nan, nan]])
    torch.testing.assert_close(typical_peak(peaks), torch.tensor([0.5, 1.0, FAINT_SCORE]))
    torch.testing.assert_close(typical_peak(torch.empty(0, 2)), torch.ones(2))


def test_a_view_that_all_clusterings_see_is_trusted() -> None:
    class Everywhere(Asymmetry):
        def is_seen_by(self, clustering: int) -> bool:
            return True

    labels, valid, tags = whole(0, 0)
    votes, likeness = judged(torch.ones(2, 1, 1))
    found = relevance_map(labels[valid], valid, tags, votes, likeness, [Everywhere()])
    torch.testing.assert_close(found, torch.ones(1, 1, 5, 6))
