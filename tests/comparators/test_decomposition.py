"""Feature decomposition: nested classes, what slices share, and mutual erasure."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tests.comparators.conftest import batch, small
from wsseg.comparators import FeatureDecomposition
from wsseg.comparators.decomposition_losses import (
    CoAttention,
    alignment_loss,
    draw_partners,
    exclusion_loss,
    map_suppression,
    nested_maximum,
    nesting,
)

NESTED = nesting([(1, 2, 4), (1, 4), (4,)])


def test_nesting_follows_the_labels() -> None:
    assert NESTED.tolist() == [[True, True, True], [False, True, True], [False, False, True]]
    assert nesting([(1,), (2,)]).tolist() == [[True, False], [False, True]]


def test_an_outer_class_is_where_an_inner_one_is() -> None:
    maps = torch.rand(2, 3, 5, 5)
    joint = nested_maximum(maps, NESTED)
    assert torch.equal(joint[:, 2], maps[:, 2])
    assert torch.equal(joint[:, 0], maps.amax(dim=1))
    assert (joint[:, 0] >= joint[:, 1]).all()
    assert (joint[:, 1] >= joint[:, 2]).all()


def test_attention_takes_features_from_the_other_slice() -> None:
    attend = CoAttention(2)
    torch.nn.init.eye_(attend.form.weight)
    own = torch.tensor([[20.0, 0.0], [0.0, 20.0]]).view(1, 2, 1, 2)
    other = torch.tensor([[0.0, 3.0], [4.0, 0.0]]).view(1, 2, 1, 2)
    got = attend(own, other)
    # every pixel of the other slice chooses one of this slice, each of which prefers it by e to 1
    most, least = math.e / (1 + math.e), 1 / (1 + math.e)
    torch.testing.assert_close(got[0, :, 0, 0], torch.tensor([3 * most, 4 * least]))
    torch.testing.assert_close(got[0, :, 0, 1], torch.tensor([3 * least, 4 * most]))


def test_partners_share_a_tag_and_are_others_if_there_are_any() -> None:
    tags = torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 0], [0, 0]])
    torch.manual_seed(0)
    drawn = torch.stack([draw_partners(tags) for _ in range(50)])
    found = [set(drawn[:, slice_].tolist()) for slice_ in range(5)]
    assert found == [{1}, {0, 2}, {1}, {3}, {4}]
    assert draw_partners(torch.ones(1, 2)).tolist() == [0]


def pair(inner: tuple[int, int], outer: tuple[int, int]) -> torch.Tensor:
    """Return maps of an outer and of an inner class, each 1 between two columns."""
    cam = torch.zeros(1, 2, 2, 4, 8)
    for c, (start, stop) in enumerate((outer, inner)):
        cam[:, c, 0] = 1
        cam[:, c, 0, :, start:stop] = 0
        cam[:, c, 1, :, start:stop] = 1
    return cam


def test_maps_that_leave_each_other_alone_are_cheaper() -> None:
    tags = torch.ones(1, 2)
    within = nesting([(1, 2), (1,)])
    apart = exclusion_loss(pair((0, 2), (2, 8)), tags, within)
    overlapping = exclusion_loss(pair((0, 6), (2, 8)), tags, within)
    assert apart < overlapping


def test_overlap_costs_where_the_outer_class_is_tagged() -> None:
    cam, within = torch.ones(1, 2, 2, 4, 8), nesting([(1, 2), (1,)])
    losses = [exclusion_loss(cam, torch.tensor([[tag, 0.0]]), within) for tag in (1.0, 0.0)]
    assert losses[0] - losses[1] == pytest.approx(0.1 * (1 - 0.1))


def test_the_inner_class_is_the_one_that_erases() -> None:
    cam, tags = pair((0, 4), (0, 5)), torch.tensor([[1.0, 0.0]])
    given = exclusion_loss(cam, tags, nesting([(1, 2), (1,)]))
    swapped = exclusion_loss(cam[:, [1, 0]], tags[:, [1, 0]], nesting([(1,), (1, 2)]))
    torch.testing.assert_close(given, swapped)
    assert not torch.isclose(given, exclusion_loss(cam, tags, nesting([(1,), (1, 2)])))


def test_alignment_rewards_what_both_maps_show_of_shared_classes() -> None:
    own, common = torch.rand(2, 1, 2, 4, 4), torch.rand(2, 1, 2, 4, 4)
    tags = torch.tensor([[1.0], [0.0]])
    expected = -torch.minimum(own[0, 0, 1], common[0, 0, 1]).mean() / 2
    torch.testing.assert_close(alignment_loss(own, common, tags), expected)
    twice = [maps.expand(-1, 2, -1, -1, -1) for maps in (own, common)]
    assert alignment_loss(*twice, tags.expand(-1, 2)) == pytest.approx(2 * expected.item())


def test_suppression_is_a_sum_over_classes_in_which_inner_ones_count_twice() -> None:
    cam, tags = torch.rand(3, 2, 2, 4, 4), torch.tensor([[1.0, 0], [1, 1], [0, 0]])
    losses = []
    for c in range(2):
        wrong = [maps[c, 0] if tag[c] else maps[c, 1] for maps, tag in zip(cam, tags, strict=True)]
        overlap = torch.minimum(cam[:, c, 0], cam[:, c, 1])
        losses.append(torch.stack(wrong).mean() + overlap.mean())
    outer, inner = losses
    given = map_suppression(cam, tags, nesting([(1, 2), (1,)]))
    torch.testing.assert_close(given, outer + 2 * inner)
    disjoint = map_suppression(cam, tags, nesting([(1,), (2,)]))  # as published: the first is inner
    torch.testing.assert_close(disjoint, 2 * outer + inner)


def test_every_class_and_level_has_a_cross_entropy_of_its_own() -> None:
    module, views = small(FeatureDecomposition), batch()
    module.class_weights.copy_(torch.tensor([[0.3, 0.7], [0.1, 0.9]]))
    image, tags = views["image"], views["tags"]
    with torch.no_grad():
        maps = module.network.own_heads(module.network.levels(image), image.shape[-2:])
        got = module._maps_losses(maps, tags)["classification"]
    expected = sum(
        F.cross_entropy(level[:, c], tags[:, c].long(), module.class_weights[c])
        for level in maps.logits
        for c in range(2)
    )
    torch.testing.assert_close(got, expected)


def test_the_network_sees_standardised_slices_on_a_dark_background() -> None:
    module, views = small(FeatureDecomposition), batch()
    seen: list[torch.Tensor] = []
    for encoder in (module.network.encoder, module.teacher.module.encoder):
        encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module.losses(views, views["image"])
    module.eval()(views["image"], views["valid"])
    assert len(seen) == 2
    for image in seen:
        torch.testing.assert_close(image.mean(dim=(2, 3)), torch.zeros(4, 2), atol=1e-5, rtol=0)
        torch.testing.assert_close(image.std(dim=(2, 3)), torch.ones(4, 2))
        background = image.masked_select(~views["valid"][:, None])
        assert background.max() < image.mean()


def test_losses_draw_partners_by_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    module, views = small(FeatureDecomposition), batch()
    drawn: list[torch.Tensor] = []

    def watched(image: torch.Tensor, partner: torch.Tensor) -> object:
        drawn.append(partner)
        return forward(image, partner)

    forward = module.network.forward
    monkeypatch.setattr(module.network, "forward", watched)
    for _ in range(5):
        module.losses(views, views["image"])
    assert all(partner.tolist() == [2, 1, 0, 3] for partner in drawn)


def test_nested_predictions_are_nested() -> None:
    module, views = small(FeatureDecomposition).eval(), batch()
    with torch.no_grad():
        whole, core = module(views["image"], views["valid"]).unbind(dim=1)
    assert (whole >= core).all()
