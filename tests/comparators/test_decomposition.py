"""Feature decomposition: nested classes, what slices share, and mutual erasure."""

from __future__ import annotations

import torch

from tests.comparators.conftest import batch, small
from wsseg.comparators import FeatureDecomposition
from wsseg.comparators.decomposition_losses import (
    CoAttention,
    alignment_loss,
    exclusion_loss,
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
    torch.testing.assert_close(got[0, :, 0, 0], torch.tensor([3.0, 0.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(got[0, :, 0, 1], torch.tensor([0.0, 4.0]), atol=1e-4, rtol=0)


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


def test_nested_predictions_are_nested() -> None:
    module, views = small(FeatureDecomposition).eval(), batch()
    with torch.no_grad():
        whole, core = module(views["image"], views["valid"]).unbind(dim=1)
    assert (whole >= core).all()
