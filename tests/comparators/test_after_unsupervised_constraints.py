"""What is hidden from the second branch, and what clusters say of pixels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.comparators.conftest import batch, small
from wsseg.comparators import AfterUnsupervisedConstraints
from wsseg.comparators.after_unsupervised_constraints import (
    BATCH_CLUSTERS,
    BORDER,
    FOREGROUND,
    border,
    cluster_pixels,
    constraints,
)


def test_foreground_clusters_and_the_border_of_the_map_are_labelled() -> None:
    generator = torch.Generator().manual_seed(0)
    cluster = torch.randint(0, BATCH_CLUSTERS, (3, 9, 9), generator=generator)
    maps = torch.rand(3, 2, 9, 9, generator=generator) * 0.2
    maps[:, :, :2, :2] += 0.7
    maps += 0.5 * (cluster == 3)[:, None]
    valid = torch.rand(3, 9, 9, generator=generator) < 0.9
    maps, tags = maps * valid[:, None], torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    shown = maps / maps.amax(dim=(2, 3), keepdim=True)
    expected, around = torch.full_like(maps, -1.0), border(shown > FOREGROUND)
    for c in range(2):
        where = valid & (tags[:, c] > 0)[:, None, None]
        for k in range(BATCH_CLUSTERS):
            here = where & (cluster == k)
            relevant = bool(here.any()) and bool(shown[:, c][here].mean() > FOREGROUND)
            expected[:, c][here & (around[:, c] | relevant)] = float(relevant)
    got = constraints(cluster, maps, valid, tags)
    assert torch.equal(got, expected)
    assert got.unique().tolist() == [-1, 0, 1]


def test_the_border_is_what_is_close_to_both_sides() -> None:
    mask = torch.zeros(1, 1, 1, 20, dtype=torch.bool)
    mask[..., 10:] = True
    assert border(mask).flatten().nonzero().flatten().tolist() == list(
        range(10 - BORDER, 10 + BORDER)
    )
    assert not border(torch.ones_like(mask)).any()


def test_pixels_are_clustered_by_direction_where_they_are_valid() -> None:
    sides = torch.eye(2)[torch.arange(64).view(1, 8, 8) % 2].movedim(-1, 1)
    features = F.normalize(sides + 0.01 * torch.rand(1, 2, 8, 8), dim=1)
    cluster, drawn = cluster_pixels(features, torch.ones(1, 8, 8, dtype=torch.bool))
    assert drawn == 64
    assert not set(cluster[..., ::2].unique().tolist()) & set(cluster[..., 1::2].unique().tolist())


def test_what_the_first_branch_finds_is_no_evidence_for_the_second() -> None:
    module, given = small(AfterUnsupervisedConstraints).eval(), batch()
    network = module.network
    with torch.no_grad():
        for certainty, expected in ((-9.0, False), (9.0, True)):
            network.first.fine_head.weight.zero_()
            network.first.fine_head.bias.fill_(certainty)
            output, second = network(given["image"], given["valid"])
            nothing_left = bool((output.slice_logits[-1] == 0).all())
            assert nothing_left == expected
            assert second.abs().max() > 0
