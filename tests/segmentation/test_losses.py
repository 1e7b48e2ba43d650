"""What the losses promise about targets that are wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from wsseg.segmentation.losses import (
    corrected,
    generalised_cross_entropy,
    noisy_mask_loss,
    soft_dice_loss,
)

NOBODY = torch.tensor([False])
LOGITS = torch.linspace(-6, 6, 25).view(1, 1, 5, 5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0.01, 1))
def test_cross_entropy_is_what_the_paper_says(target: float, robustness: float) -> None:
    """Against (1 - p^q) / q, written out in double precision."""
    probability = torch.sigmoid(LOGITS.double())
    one, other = ((1 - p**robustness) / robustness for p in (probability, 1 - probability))
    expected = target * one + (1 - target) * other
    found = generalised_cross_entropy(
        LOGITS, torch.full_like(LOGITS, target), torch.tensor(robustness)
    )
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-4)


def test_cross_entropy_at_its_ends() -> None:
    target = (torch.rand(LOGITS.shape) > 0.5).float()
    plain = F.binary_cross_entropy_with_logits(LOGITS, target, reduction="none")
    torch.testing.assert_close(generalised_cross_entropy(LOGITS, target, torch.tensor(0.0)), plain)
    torch.testing.assert_close(
        generalised_cross_entropy(LOGITS, target, torch.tensor(1e-5)), plain, rtol=1e-3, atol=1e-3
    )
    error = (torch.sigmoid(LOGITS) - target).abs()
    torch.testing.assert_close(generalised_cross_entropy(LOGITS, target, torch.tensor(1.0)), error)


def test_a_robust_loss_insists_less_on_a_pixel_that_disagrees() -> None:
    pulls = []
    for robustness in torch.tensor([0.0, 0.4, 0.8]):
        logit = torch.full((1, 1, 1, 1), -4.0, requires_grad=True)
        generalised_cross_entropy(logit, torch.ones(1, 1, 1, 1), robustness).sum().backward()
        assert logit.grad is not None
        pulls.append(-float(logit.grad))
    assert pulls[0] > 2 * pulls[1] > 4 * pulls[2] > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_dice_of_hard_targets_is_soft_dice(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, 3, 4, 4, generator=generator)
    target = (torch.rand(2, 3, 4, 4, generator=generator) > 0.5).float()
    overlap, size = (probability * target).sum((0, 2, 3)), (probability + target).sum((0, 2, 3))
    torch.testing.assert_close(soft_dice_loss(probability, target), 1 - 2 * overlap / size)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.0, 1.0))
def test_dice_of_soft_targets_is_least_at_the_target(target: float, other: float) -> None:
    wanted = torch.full((1, 1, 2, 2), target)
    best = float(soft_dice_loss(wanted, wanted))
    assert best == pytest.approx(0, abs=1e-6)
    assert float(soft_dice_loss(torch.full_like(wanted, other), wanted)) >= best


def test_dice_says_nothing_of_a_class_without_targets() -> None:
    target = torch.zeros(1, 2, 4, 4)
    target[:, 1, 0, 0] = 1
    assert soft_dice_loss(torch.full((1, 2, 4, 4), 0.5), target).tolist()[0] == 0


def test_pixels_that_do_not_count_pull_nowhere() -> None:
    counted = torch.rand(2, 2, 4, 4) > 0.5
    target = torch.where(counted, (torch.rand(2, 2, 4, 4) > 0.5).float(), -1.0)
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    noisy_mask_loss(logits, target, counted, 0.7, NOBODY).backward()
    assert logits.grad is not None
    assert (logits.grad[~counted] == 0).all()
    assert (logits.grad[counted] != 0).any()


def test_nothing_to_count_is_no_loss() -> None:
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    target = torch.full((1, 1, 4, 4), -1.0)
    loss = noisy_mask_loss(torch.randn(1, 1, 4, 4), target, nothing, 0.7, NOBODY)
    assert float(loss) == 0


def test_targets_that_a_person_has_drawn_are_not_doubted() -> None:
    """In a batch of both, each slice is pulled as in a batch of its own kind."""
    counted = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    target = (torch.rand(2, 1, 4, 4) > 0.5).float()

    def pull(robustness: float, *drawn: bool) -> torch.Tensor:
        logits = torch.linspace(-4, 4, 32).view(2, 1, 4, 4).requires_grad_()
        noisy_mask_loss(logits, target, counted, robustness, torch.tensor(drawn)).backward()
        assert logits.grad is not None
        return logits.grad

    mixed = pull(0.7, False, True)
    torch.testing.assert_close(mixed[0], pull(0.7, False, False)[0])
    torch.testing.assert_close(mixed[1], pull(0.0, False, False)[1])
    assert not torch.allclose(mixed[1], pull(0.7, False, False)[1])


def test_correction_leaves_alone_what_is_certain_unknown_or_doubted() -> None:
    target = torch.tensor([1.0, 1.0, 0.0, -1.0]).view(1, 1, 1, 4).repeat(2, 1, 1, 1)
    opinion = torch.tensor([0.1, 0.3, 0.9, 0.9]).view(1, 1, 1, 4).repeat(2, 1, 1, 1)
    tags = torch.tensor([[1.0], [0.0]])
    found = corrected(target, opinion, tags, share=0.5, confidence=0.8)
    torch.testing.assert_close(found[0].flatten(), torch.tensor([0.55, 1.0, 0.45, -1.0]))
    assert torch.equal(found[1], target[1])
