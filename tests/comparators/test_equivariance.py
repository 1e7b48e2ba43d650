"""Transforms, and what equivariance within and across modalities means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, kl_divergence

from tests.comparators.conftest import batch, small
from wsseg.comparators import Comparator, CrossModality, SelfEquivariance
from wsseg.comparators.cross_modality import agreement, cross_equivariance, equivariance
from wsseg.comparators.self_equivariance import distance
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.augmentation import sampling_grid
from wsseg.data.spec import DataSpec
from wsseg.models.cam_network import CamOutput


def identity(count: int, size: tuple[int, int]) -> Tensor:
    return sampling_grid(torch.eye(2).expand(count, 2, 2), *size)


def test_the_identity_moves_nothing() -> None:
    maps, valid = torch.rand(2, 3, 8, 12), torch.rand(2, 8, 12) > 0.5
    grid = identity(2, (8, 12))
    torch.testing.assert_close(move(maps, grid), maps, atol=1e-5, rtol=0)
    assert torch.equal(move_valid(valid, grid), valid)


def test_slices_are_moved_differently_and_nothing_valid_comes_from_outside() -> None:
    torch.manual_seed(0)
    grid = random_grid(64, (16, 16), torch.device("cpu"))
    valid = move_valid(torch.ones(64, 16, 16, dtype=torch.bool), grid)
    area = valid.float().mean(dim=(1, 2))
    assert area.max() > 0.95
    assert area.min() < 0.5  # zoomed out
    assert not torch.equal(grid[0], grid[1])


class Echo(nn.Module):
    """A network whose maps are the slice itself."""

    def forward(self, image: Tensor, valid: Tensor) -> CamOutput:
        cam = image[:, :1].expand(-1, 2, -1, -1)
        return CamOutput(cam, cam.mean(dim=(2, 3))[None], cam)


@pytest.mark.parametrize(
    ("kind", "network"),
    [(SelfEquivariance, Echo()), (CrossModality, nn.ModuleList([Echo(), Echo()]))],
)
def test_maps_that_move_with_the_slice_are_equivariant(
    kind: type[Comparator], network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = small(kind)
    module.network = network
    mirror = sampling_grid(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]).expand(4, 2, 2), 32, 32)
    monkeypatch.setattr(f"{kind.__module__}.random_grid", lambda *_: mirror)
    views = batch()
    assert module.losses(views, views["image"])["equivariance"] < 1e-5


def test_distance_counts_what_is_valid() -> None:
    one, valid = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    assert distance(one, one + 1, valid) == 0
    valid[:, :2] = True
    assert distance(one, one + 0.5, valid) == 0.5


def test_equivariance_is_asked_of_tagged_slices() -> None:
    one, other, tags = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), torch.tensor([[0.0], [0.0]])
    assert equivariance(one, other, tags) == 0
    assert equivariance(one, other, 1 - tags) == 1


def test_agreement_is_the_divergence_from_the_others() -> None:
    one, other = torch.randn(5, 2), torch.randn(5, 2)
    soft = [Bernoulli(logits=each / 3) for each in (one, other)]
    expected = kl_divergence(soft[0], soft[1]) + kl_divergence(soft[1], soft[0])
    torch.testing.assert_close(agreement([one, other], 3.0), 9 * expected.mean() / 2)
    assert agreement([one, one], 3.0).abs() < 1e-6


def test_agreement_does_not_pull_the_others() -> None:
    one, other = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    own, theirs = Bernoulli(logits=one / 3), Bernoulli(logits=other / 3)
    expected = 9 * kl_divergence(theirs, own).mean() / 2
    torch.testing.assert_close(
        torch.autograd.grad(agreement([one, other], 3.0), one), torch.autograd.grad(expected, one)
    )


def test_modalities_learn_from_others_that_find_the_tag_and_do_not_pull_them() -> None:
    maps = [torch.rand(2, 1, 6, 6, requires_grad=True) for _ in range(4)]
    tags = torch.tensor([[1.0], [0.0]])
    sure, unsure = torch.full((2, 1), 3.0), torch.full((2, 1), -3.0)
    views = (maps[:2], maps[2:])
    loss = cross_equivariance(views, ([sure, unsure], [sure, unsure]), tags)
    gradients = torch.autograd.grad(loss, maps)
    teachers, learners = gradients[::2], gradients[1::2]
    assert all((gradient == 0).all() for gradient in teachers)
    assert all(gradient[0].abs().max() > 0 for gradient in learners)
    assert all((gradient[1] == 0).all() for gradient in learners)  # untagged
    same = [torch.ones(2, 1, 6, 6)] * 2
    assert cross_equivariance((same, same), ([sure, sure], [sure, sure]), tags).abs() < 1e-5


def test_the_modality_predicts_whose_network_tells_the_tags_best() -> None:
    """The mean over modalities let one that is blind veto all others at the threshold."""
    module, views = small(CrossModality).eval(), batch()
    with torch.no_grad():
        for network, certainty in zip(module.network, (-9.0, 9.0), strict=True):
            for head in (network.fine_head, network.deep_head):
                head.weight.zero_()
                head.bias.fill_(certainty)
        module.teacher.module.load_state_dict(module.network.state_dict())
        for tag, expected in ((1.0, 1.0), (0.0, 0.0)):
            module.tag_losses.zero_()
            views["tags"][:] = tag
            module.losses(views, views["image"])
            prediction = module.predict(views["image"], views["valid"])
            found = prediction.probability[
                views["valid"][:, None].expand_as(prediction.probability)
            ]
            assert found.mean() == pytest.approx(expected, abs=1e-3)
            assert prediction.tags.mean() == pytest.approx(expected, abs=1e-3)


def test_tag_losses_are_averaged_by_modality_and_travel_with_the_weights() -> None:
    module, views = small(CrossModality), batch()
    losses = torch.stack(
        [module.losses(views, views["image"])["classification"].detach() for _ in range(3)]
    )
    average = 0.02 * (0.98**2 * losses[0] + 0.98 * losses[1] + losses[2])
    torch.testing.assert_close(module.tag_losses.mean(), average)
    again = small(CrossModality)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.tag_losses, module.tag_losses)
    assert module.tag_losses.min() > 0


def test_every_modality_has_a_network_that_sees_nothing_else() -> None:
    module, views = small(CrossModality).eval(), batch()
    changed = views["image"].clone()
    changed[:, 1] += 1
    with torch.no_grad():
        before, after = (
            [net(image[:, [m]], views["valid"]).cam for m, net in enumerate(module.network)]
            for image in (views["image"], changed)
        )
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_the_weights_of_each_network_are_drawn_together() -> None:
    """The first network is the same however many modalities follow it."""
    torch.manual_seed(0)
    spec = DataSpec(("FLAIR", "T1"), {"tumour": (1,)}, "axial", None, (32, 32))
    module = CrossModality(spec.to_dict(), widths=(4, 8))
    torch.manual_seed(0)
    alone = Comparator({**spec.to_dict(), "modalities": ["FLAIR"]}, widths=(4, 8))
    for one, other in zip(module.network[0].parameters(), alone.network.parameters(), strict=True):
        assert torch.equal(one, other)
