"""The authors' recipe: clusters, votes and losses against their plain definition."""

from __future__ import annotations

from typing import cast

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.comparators.conftest import batch, small
from wsseg.comparators import ReferenceCrs
from wsseg.comparators.reference_losses import (
    OUTSIDE,
    cluster_batch,
    cluster_loss,
    pooled,
    reconstruction_target,
    standardise_slices,
    vote,
)
from wsseg.comparators.reference_network import ReferenceNetwork

WEIGHTS = torch.tensor([[0.3, 0.7]])


def scene(seed: int, k: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps of one class, clusters and tags of four slices."""
    generator = torch.Generator().manual_seed(seed)
    cam = torch.rand(4, 1, 2, 6, 5, generator=generator)
    labels = torch.randint(k, (4, 6, 5), generator=generator)
    return cam, labels, torch.tensor([[1.0], [0.0], [1.0], [0.0]])


def by_definition(cam: Tensor, labels: Tensor, tags: Tensor, k: int) -> Tensor:
    """The loss as DESIGN states it, with torch's own losses, cluster by cluster."""
    entropy, classify = nn.BCELoss(), nn.CrossEntropyLoss(WEIGHTS[0])
    total = torch.zeros(())
    for cluster in range(k):
        kept = cam[:, 0] * (labels == cluster)[:, None]
        logits = kept.mean(dim=(2, 3))
        votes = logits.argmax(dim=1) == 1
        if not votes.any():
            continue
        target = torch.full((len(cam),), float(not (votes & (tags[:, 0] == 0)).any()))
        wanted = target[:, None, None].expand_as(kept[:, 1])
        total = total + entropy(kept[:, 1], wanted) + classify(logits, target.long())
    return total / k


@given(st.integers(0, 10_000), st.floats(0.0, 1.5))
@settings(max_examples=30, deadline=None)
def test_the_loss_and_its_gradient_are_those_of_the_definition(seed: int, lift: float) -> None:
    cam, labels, tags = scene(seed)
    cam[:, :, 1] = (cam[:, :, 1] * (0.5 + lift * tags[:, :, None, None])).clamp(0.01, 0.99)
    one, other = (cam.clone().requires_grad_() for _ in range(2))
    expected = by_definition(one, labels, tags, 3)
    got = cluster_loss(other, labels, tags, WEIGHTS, 3)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    if expected.requires_grad:
        expected.backward()
        got.backward()
        assert one.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


def test_votes_tell_relevant_irrelevant_and_silent_clusters_apart() -> None:
    labels = torch.zeros(2, 1, 4, dtype=torch.int64)
    labels[:] = torch.tensor([0, 1, 2, 2])
    cam = torch.zeros(2, 1, 2, 1, 4)
    cam[0, 0, 1, 0, :2] = 1  # clusters 0 and 1 look like the class in the tagged slice
    cam[1, 0, 1, 0, 1] = 1  # and cluster 1 in the other one as well
    cam[:, 0, 0, 0, 2:] = 1  # cluster 2 is background everywhere
    verdict = vote(cam, labels, torch.tensor([[1.0], [0.0]]), 3)
    assert verdict.relevant[:, 0].tolist() == [True, False, False]
    assert verdict.irrelevant[:, 0].tolist() == [False, True, False]


def test_renaming_clusters_changes_nothing() -> None:
    cam, labels, tags = scene(3)
    renamed = torch.tensor([2, 0, 1])[labels]
    expected = cluster_loss(cam, labels, tags, WEIGHTS, 3)
    torch.testing.assert_close(cluster_loss(cam, renamed, tags, WEIGHTS, 3), expected)


def lone_cluster() -> tuple[Tensor, Tensor, Tensor]:
    """Return a cluster of a fifth of the pixels that only the tagged slice votes with."""
    cam = torch.zeros(2, 1, 2, 10, 10)
    cam[0, 0, 1] = 0.9
    labels = torch.ones(2, 10, 10, dtype=torch.int64)
    labels[:, :2] = 0
    return cam, labels, torch.tensor([[1.0], [0.0]])


def test_bounding_tames_the_gradient_of_a_pixel_of_zero() -> None:
    cam, labels, tags = lone_cluster()
    largest = []
    for bounded in (False, True):
        leaf = cam.clone().requires_grad_()
        cluster_loss(leaf, labels, tags, WEIGHTS, 1, bounded=bounded).backward()
        assert leaf.grad is not None
        largest.append(float(leaf.grad.abs().max()))
    assert largest[0] > 1e6
    assert largest[1] < 100


def test_counting_inside_the_cluster_takes_the_constant_away() -> None:
    """Four of five pixels are not of the cluster: 80 is no measure of anything."""
    cam, labels, tags = lone_cluster()
    published = cluster_loss(cam, labels, tags, WEIGHTS, 1, tagged_only=True)
    inside = cluster_loss(cam, labels, tags, WEIGHTS, 1, tagged_only=True, inside=True)
    assert 40 < published < 42  # in one of the two slices
    assert inside < 1


def test_relevant_clusters_are_pushed_up_in_untagged_slices_unless_repaired() -> None:
    cam = torch.full((2, 1, 2, 4, 4), 0.5)
    cam[0, 0, 1], cam[1, 0, 1] = 0.8, 0.2
    labels, tags = torch.zeros(2, 4, 4, dtype=torch.int64), torch.tensor([[1.0], [0.0]])
    signs = []
    for tagged_only in (False, True):
        leaf = cam.clone().requires_grad_()
        cluster_loss(leaf, labels, tags, WEIGHTS, 1, tagged_only=tagged_only).backward()
        assert leaf.grad is not None
        assert leaf.grad[0, 0, 1].max() < 0
        signs.append(float(leaf.grad[1, 0, 1].mean()))
    assert signs[0] < 0 < signs[1]


def test_pooling_inside_is_the_mean_of_the_clusters_pixels() -> None:
    cam, labels, _ = scene(0)
    got = pooled(cam, labels, 3, inside=True)
    torch.testing.assert_close(got[1, 2, 0], cam[2, 0][:, labels[2] == 1].mean(dim=1))


def test_background_is_clustered_unless_repaired() -> None:
    features, valid = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
    valid[:, 2:6, 2:6] = True
    published = cluster_batch(features, valid, 3, 0, anatomy_only=False)
    repaired = cluster_batch(features, valid, 3, 0, anatomy_only=True)
    assert len(published[~valid].unique()) == 1
    assert published.min() >= 0
    assert (repaired[~valid] == OUTSIDE).all()
    assert repaired[valid].unique().tolist() == [0, 1, 2]


def test_batches_with_fewer_pixels_than_clusters_have_none() -> None:
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    labels = cluster_batch(torch.randn(1, 2, 4, 4), valid, 3, 0, anatomy_only=True)
    assert (labels == OUTSIDE).all()


def test_whole_slices_are_standardised_and_targets_fill_their_range() -> None:
    views = batch()
    image = standardise_slices(views["image"] * 7 + 3, views["valid"])
    torch.testing.assert_close(image.mean(dim=(2, 3)), torch.zeros(4, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(image.std(dim=(2, 3)), torch.ones(4, 2), atol=1e-4, rtol=0)
    target = reconstruction_target(views["image"][:, 0], views["valid"])
    assert (target[~views["valid"]] == -1).all()
    torch.testing.assert_close(target.flatten(1).amax(dim=1), torch.ones(4))
    clipped = (target > 1 - 1e-5).float().mean()
    assert 0.08 < float(clipped) < 0.13


def test_the_network_is_as_wide_and_deep_as_published() -> None:
    network = ReferenceNetwork(4, 1)
    widths = [cast(nn.Conv2d, cast(nn.Sequential, block)[0]).out_channels for block in network.down]
    assert widths == [64, 128, 256, 512, 1024]
    assert [head.weight.shape[:2] for head in network.heads.heads] == [(2, 256), (2, 1024)]
    assert all(head.bias is None for head in network.heads.heads)


def test_the_map_is_the_product_of_two_normalised_ones() -> None:
    output = ReferenceNetwork(2, 3, base_width=2).eval()(torch.randn(2, 2, 32, 48))
    assert output.maps.cam.shape == (2, 3, 2, 32, 48)
    assert output.maps.cam.min() >= 0
    assert output.maps.cam.max() <= 1
    assert output.maps.logits.shape == (2, 2, 3, 2)
    assert output.reconstruction.shape == (2, 32, 48)
    assert output.reconstruction.abs().max() <= 1
    assert output.features.shape == (2, 2, 32, 48)


def test_published_training_predicts_with_the_last_weights() -> None:
    module = small(ReferenceCrs)
    module.teacher.update_parameters(module.network)
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter.add_(1)
    module.teacher.update_parameters(module.network)
    for slow, fast in zip(
        module.teacher.module.parameters(), module.network.parameters(), strict=True
    ):
        torch.testing.assert_close(slow, fast)
