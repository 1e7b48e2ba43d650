"""Laws that every scorer keeps, and what tells them apart."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsseg.clustering.scorers import (
    FLAT_ACTIVATION,
    EvidenceScorer,
    Scorer,
    contrast,
    focus,
    lower_bound,
    outer_class,
    pixels_to_compare,
    purity,
)
from wsseg.clustering.statistics import TAGGED, ClusterStatistics, slice_statistics
from wsseg.comparators.scorers import UNDECIDED, ErasureScorer, PurityScorer, VoteScorer

R, K, C = 2, 5, 2
BY_CLUSTER = [f.name for f in fields(ClusterStatistics) if f.name not in ("total", "together")]
SCORERS = [VoteScorer(), PurityScorer(), ErasureScorer(), EvidenceScorer()]
every_scorer = pytest.mark.parametrize("scorer", SCORERS, ids=lambda s: type(s).__name__)
seeds = st.integers(0, 10_000)


def draw_statistics(seed: int, classes: int = C) -> ClusterStatistics:
    """Random slices in which cluster 4 never occurs where class 0 is tagged."""
    draw = torch.Generator().manual_seed(seed)
    slices, pixels = 8, 30
    tags = torch.randint(2, (slices, classes), generator=draw).float()
    tags[0], tags[1] = 0, 1
    row = torch.arange(slices).repeat_interleave(pixels)
    labels = torch.randint(K, (slices * pixels, R), generator=draw)
    labels = torch.where((tags[row, 0] > 0)[:, None], labels % (K - 1), labels)
    activation = torch.rand(slices * pixels, classes, generator=draw)
    level = torch.randint(4, (slices,), generator=draw)
    place = torch.randint(20, (slices * pixels, 2), generator=draw)
    return slice_statistics(labels, activation, row, place, tags, level, level, K)


def permute(statistics: ClusterStatistics, order: Tensor) -> ClusterStatistics:
    return replace(statistics, **{name: getattr(statistics, name)[:, order] for name in BY_CLUSTER})


def only_class(statistics: ClusterStatistics, number: int) -> ClusterStatistics:
    change = {name: getattr(statistics, name)[:, :, [number]] for name in BY_CLUSTER}
    together = statistics.together[[number]][:, [number]]
    return replace(statistics, **change, total=statistics.total[[number]], together=together)


@every_scorer
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_laws(scorer: Scorer, seed: int) -> None:
    statistics = draw_statistics(seed)
    scores = scorer(statistics)
    assert scores.shape == (R, K, C)
    assert scores.dtype == torch.float32
    assert bool(((scores >= 0) & (scores <= 1)).all())
    # clusters have no order
    order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(scorer(permute(statistics, order)), scores[:, order])
    # classes do not know of each other, unless one lies in the other
    if outer_class(statistics)[1] < 0:
        assert torch.allclose(scorer(only_class(statistics, 1)), scores[:, :, [1]])
    # what never occurs with the class is never of the class
    absent = statistics.slices[..., TAGGED] == 0
    assert absent[:, 4, 0].all()
    assert bool((scores[absent] <= UNDECIDED).all())


@every_scorer
def test_no_data_is_no_reason(scorer: Scorer) -> None:
    scores = scorer(draw_statistics(0).apply(torch.zeros_like))
    assert bool((scores <= UNDECIDED).all())


def in_a_line(slices: int, pixels: int = 100) -> Tensor:
    """Pixels of each slice side by side: [n, 2]."""
    column = torch.arange(pixels).repeat(slices)
    return torch.stack((torch.zeros_like(column), column), dim=1)


def one_cluster(tagged: list[float], untagged: list[float], area: int = 20) -> ClusterStatistics:
    """Cluster 1 covers 20 of 100 pixels with these activations, cluster 0 the rest at 0.1."""
    values = torch.tensor(tagged + untagged)
    slices = len(values)
    row = torch.arange(slices).repeat_interleave(100)
    inside = (torch.arange(100) < area).repeat(slices) & (values[row] >= 0)
    activation = torch.where(inside, values[row], 0.1)[:, None]
    tags = (torch.arange(slices) < len(tagged)).float()[:, None]
    each, level = torch.arange(slices), torch.zeros(slices, dtype=torch.int64)
    return slice_statistics(
        inside.long()[:, None], activation, row, in_a_line(slices), tags, each, level, 2
    )


def test_vote_follows_the_authors_rule() -> None:
    def score(tagged: list[float], untagged: list[float]) -> float:
        return float(VoteScorer()(one_cluster(tagged, untagged))[0, 1, 0])

    assert score([0.9, 0.1], [0.1, 0.2]) == 1.0
    assert score([0.9, 0.9], [0.1, 0.6]) == 0.0  # a single noisy vote disqualifies
    assert score([0.2, 0.4], [0.1, 0.2]) == 0.5


def test_purity_is_share_against_share() -> None:
    statistics = one_cluster([0.9, 0.9, 0.9], [-1.0])  # only in tagged slices
    assert float(PurityScorer()(statistics)[0, 1, 0]) > 0.99
    statistics = one_cluster([0.9, -1.0], [0.9, 0.9])  # 10 of 100 pixels against 20 of 100
    assert float(PurityScorer(smoothing=0.0)(statistics)[0, 1, 0]) == pytest.approx(1 / 3)


def test_shares_are_compared_level_by_level() -> None:
    """White matter is seen at upper levels; that most tagged slices lie there is no evidence."""
    level = torch.tensor([1] * 8 + [0] * 2 + [1] * 2 + [0] * 8)
    tags = (torch.arange(20) < 10).float()[:, None]
    row = torch.arange(20).repeat_interleave(10)
    white = (level[row] == 1) & (torch.arange(10) < 5).repeat(20)
    activation, each = torch.full((200, 1), 0.5), torch.arange(20)
    place = in_a_line(20, 10)
    found = slice_statistics(white.long()[:, None], activation, row, place, tags, each, level, 2)
    assert float(PurityScorer()(found)[0, 1, 0]) == pytest.approx(0.5, abs=1e-3)
    for other in (level * 0, tags[:, 0].long()):  # one level, or none with both kinds of slices
        blind = slice_statistics(
            white.long()[:, None], activation, row, place, tags, each, other, 2
        )
        assert float(PurityScorer()(blind)[0, 1, 0]) == pytest.approx(0.8, abs=1e-3)


def test_erasure_compares_the_drop_with_the_area() -> None:
    even = one_cluster([0.1, 0.1], [0.1])
    assert float(ErasureScorer()(even)[0, 1, 0]) == pytest.approx(0.5, abs=1e-4)
    active = one_cluster([0.9, 0.9], [0.1])
    assert float(ErasureScorer()(active)[0, 1, 0]) > 0.75


def test_evidence_needs_purity_and_is_moderated_by_activation() -> None:
    scorer = EvidenceScorer()
    good = float(scorer(one_cluster([0.9] * 6, [-1.0] * 6))[0, 1, 0])
    impure = float(scorer(one_cluster([0.9] * 6, [0.9] * 6))[0, 1, 0])
    assert good > 0.6
    assert impure <= UNDECIDED
    # A network that knows little must not rule out what purity shows.
    pure_but_dark = float(scorer(one_cluster([0.01] * 6, [-1.0] * 6))[0, 1, 0])
    assert 0.4 * good < pure_but_dark < 0.7 * good


def test_what_stands_out_by_chance_from_flat_activation_has_little_contrast() -> None:
    assert contrast(one_cluster([0.11], [0.1])).max() == pytest.approx(
        0.01 / FLAT_ACTIVATION, rel=1e-3
    )
    assert contrast(one_cluster([0.9], [0.1])).max() == 1


def test_a_lesion_is_in_one_place() -> None:
    """Two clusters that only tagged slices hold: a blob, and tissue all over the slice."""
    slices, labels = 12, torch.zeros(100, dtype=torch.int64)
    labels[40:50], labels[5::10] = 1, 2
    tagged = torch.arange(slices) < 6
    labels = torch.where(tagged[:, None], labels, 0).flatten()[:, None]
    row, each = torch.arange(slices).repeat_interleave(100), torch.arange(slices)
    activation, tags = torch.full((len(row), 1), 0.9), tagged.float()[:, None]
    activation[row >= 6] = 0.1
    found = slice_statistics(labels, activation, row, in_a_line(slices), tags, each, each * 0, 3)
    blob, everywhere = focus(found)[0, 1:, 0].tolist()
    assert blob == pytest.approx(1 - 10**2 / 100**2, abs=1e-3)  # variances of lines
    assert everywhere == pytest.approx(0, abs=0.02)
    scores = EvidenceScorer()(found)[0, :, 0]
    assert scores[1] > 0.9
    assert scores[2] < 0.1


def nested(tags: list[list[float]], patients: int = 99) -> ClusterStatistics:
    """Each slice: healthy tissue (0), oedema (1) with the first tag, a core (2) with the second."""
    chosen = torch.tensor(tags)
    labels = torch.zeros(len(chosen), 100, dtype=torch.int64)
    labels[chosen[:, 0] > 0, 40:52] = 1
    labels[chosen[:, 1] > 0, 44:48] = 2
    return count(labels, chosen, patients)


def count(labels: Tensor, tags: Tensor, patients: int = 99) -> ClusterStatistics:
    slices = len(labels)
    row, each = torch.arange(slices).repeat_interleave(100), torch.arange(slices)
    activation = tags[row] * (labels.flatten() > 0)[:, None] * 0.9
    case, place = each % patients, in_a_line(slices)
    return slice_statistics(
        labels.flatten()[:, None], activation, row, place, tags, case, each * 0, 3
    )


def test_tags_tell_which_class_lies_in_which() -> None:
    healthy, oedema, core, all_three = [0.0] * 3, [1.0, 0, 0], [1.0, 1, 0], [1.0, 1, 1]
    assert outer_class(nested([healthy, oedema, core, all_three])).tolist() == [-1, 0, 1]
    assert outer_class(nested([healthy, oedema, all_three])).tolist() == [-1, 0, 0]  # 1 equals 2
    assert outer_class(nested([oedema, [0.0, 1, 0], core])).tolist() == [-1, -1, -1]


def test_what_an_outer_class_is_made_of_is_not_the_inner_class() -> None:
    statistics = nested([[0.0, 0]] * 8 + [[1.0, 0]] * 4 + [[1.0, 1]] * 8)
    assert purity(statistics)[0, 1, 1] > 0.6  # oedema is more frequent beside a core than in health
    around = pixels_to_compare(statistics)[0, :, 1].sum(dim=-1)
    assert around.tolist() == [4 * 88, 4 * 12, 0]
    whole, core = EvidenceScorer()(statistics)[0].T
    assert core[2] > 0.5
    assert core[1] < 0.05
    assert core[0] < 0.05
    assert whole[1] > 0.5


def test_an_inner_class_must_stand_out_of_untagged_slices_as_well() -> None:
    """Cluster 1 is as frequent in healthy slices; only that of the outer class alone lacks it."""
    tags = torch.tensor([[0.0, 0]] * 8 + [[1.0, 0]] + [[1.0, 1]] * 8)
    labels = torch.zeros(17, 100, dtype=torch.int64)
    labels[:8, 40:44] = labels[9:, 40:44] = 1
    assert EvidenceScorer()(count(labels, tags))[0, 1, 1] < 0.2


def test_one_patient_is_less_evidence_than_many() -> None:
    tags = [[0.0, 0]] * 8 + [[1.0, 0]] * 8 + [[1.0, 1]] * 8
    one, many = (EvidenceScorer()(nested(tags, patients))[0, 2, 1] for patients in (1, 99))
    assert one < many - 0.02


@given(share=st.floats(0, 1), count=st.floats(0.1, 1e4), confidence=st.floats(0, 3))
def test_lower_bound_is_below_and_tightens(share: float, count: float, confidence: float) -> None:
    value, number = torch.tensor([share] * 2), torch.tensor([count, 10 * count])
    low = lower_bound(value, number, confidence)
    assert bool((low <= value + 1e-5).all())
    assert low[0] <= low[1] + 1e-5
