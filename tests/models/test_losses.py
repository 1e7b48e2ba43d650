from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)

VALID = torch.ones(2, 4, 4, dtype=torch.bool)


def test_classification_averages_heads() -> None:
    logits = torch.tensor([[[0.0], [0.0]], [[100.0], [-100.0]]])
    tags = torch.tensor([[1.0], [0.0]])
    assert classification_loss(logits, tags).item() == pytest.approx(math.log(2) / 2)


def test_an_unknown_tag_teaches_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 2, generator=draw, requires_grad=True)
    cam = torch.randn(3, 2, 4, 4, generator=draw, requires_grad=True)
    valid = torch.ones(3, 4, 4, dtype=torch.bool)
    tags = torch.tensor([[1.0, 0.0], [0.0, torch.nan], [torch.nan, torch.nan]])
    loss = classification_loss(logits, tags) + suppression_loss(cam, valid, tags)
    loss.backward()
    assert logits.grad is not None
    assert cam.grad is not None
    assert torch.equal(logits.grad[0] != 0, ~tags.isnan())
    assert torch.equal((cam.grad != 0).all(dim=3).all(dim=2), tags == 0)
    known = logits[:, :2, 0]
    assert classification_loss(known[..., None], tags[:2, :1]).isfinite()
    assert not classification_loss(logits, tags * torch.nan)


def test_suppression_counts_untagged_slices_only() -> None:
    cam = torch.stack([torch.full((1, 4, 4), 50.0), torch.full((1, 4, 4), -50.0)])
    assert suppression_loss(cam, VALID, torch.tensor([[1.0], [0.0]])).item() == pytest.approx(0)
    assert suppression_loss(cam, VALID, torch.tensor([[0.0], [1.0]])).item() == pytest.approx(1)
    assert suppression_loss(cam, VALID, torch.ones(2, 1)).item() == 0


def test_suppression_counts_anatomy_only() -> None:
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[:, 1:3] = True
    cam = torch.where(valid[:, None], -50.0, 50.0)
    assert suppression_loss(cam, valid, torch.zeros(2, 1)).item() == pytest.approx(0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_cluster_loss_has_no_gradient_at_ignored_or_invalid_pixels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randn(2, 2, 4, 4, generator=generator, requires_grad=True)
    target = torch.randint(-1, 2, (2, 2, 4, 4), generator=generator).float()
    valid = torch.rand(2, 4, 4, generator=generator) < 0.5
    cluster_loss(cam, valid, target).backward()
    assert cam.grad is not None
    unseen = (target < 0) | ~valid[:, None]
    assert (cam.grad[unseen] == 0).all()
    assert (cam.grad[~unseen] != 0).all()


def test_cluster_loss_is_least_at_its_target_and_bounded_without_one() -> None:
    target = torch.zeros(2, 1, 4, 4)
    target[:, :, :2] = 1
    perfect = (target * 2 - 1) * 50
    assert cluster_loss(perfect, VALID, target).item() == pytest.approx(0, abs=1e-5)
    assert cluster_loss(-perfect, VALID, target).item() > 10
    ignored = torch.full_like(target, -1.0)
    assert cluster_loss(perfect, VALID, ignored).item() == 0


def test_dice_is_left_out_without_a_relevant_pixel() -> None:
    nothing = torch.zeros(2, 1, 4, 4)
    assert cluster_loss(nothing, VALID, nothing).item() == pytest.approx(math.log(2))


def test_reconstruction_counts_anatomy_only() -> None:
    image = torch.zeros(2, 3, 4, 4)
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[:, 1:3] = True
    guess = torch.where(valid[:, None], 0.5, 100.0).expand_as(image)
    assert reconstruction_loss(guess, image, valid).item() == pytest.approx(0.5)
