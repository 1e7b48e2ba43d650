"""How guide and student are compared, and what the student learns from."""

from __future__ import annotations

import pytest
import torch

from tests.comparators.conftest import batch, small
from wsseg.comparators import AfterTsskNet
from wsseg.comparators.after_tssk_net import NORMAL_DECAY, level_difference, unusual


def test_the_difference_is_that_of_features() -> None:
    generator = torch.Generator().manual_seed(0)
    guide, student = torch.randn(2, 2, 2, 3, 4, 4, generator=generator).unbind()
    levels = [list(each.unbind()) for each in (guide, student)]
    got = level_difference(*levels, torch.Size((4, 4)))
    for b, level, y, x in ((0, 0, 0, 0), (1, 1, 2, 3)):
        one, other = (each[level, b, :, y, x].tolist() for each in (guide, student))
        expected = sum((p - q) ** 2 for p, q in zip(one, other, strict=True)) / 3
        assert float(got[b, level, y, x]) == pytest.approx(expected, rel=1e-5)


def test_levels_may_differ_in_resolution() -> None:
    guide, student = [torch.ones(1, 3, 4, 4)], [torch.ones(1, 3, 8, 8) + 1]
    got = level_difference(guide, student, torch.Size((16, 12)))
    torch.testing.assert_close(got, torch.ones(1, 1, 16, 12))


def test_the_student_learns_from_untagged_slices_and_does_not_pull_the_guide() -> None:
    module, given = small(AfterTsskNet), batch()
    for tags, learns in ((torch.ones(4, 2), False), (torch.zeros(4, 2), True)):
        given["tags"] = tags
        module.zero_grad()
        loss = module.losses(given, given["image"])["imitation"]
        loss.backward()
        pulled = [
            sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
            for part in (module.network.student, module.network.guide)
        ]
        assert (pulled[0] > 0) == learns
        assert pulled[1] == 0


def test_what_is_usual_is_averaged_over_untagged_slices_only() -> None:
    module = small(AfterTsskNet)
    difference = torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    untagged = torch.zeros(2, 3, 3, dtype=torch.bool)
    module._average_normal(difference, untagged)
    assert (module.normal == 0).all()
    assert (unusual(difference, module.normal) == 0).all()
    untagged[1] = True
    module._average_normal(difference, untagged)
    for level in range(2):
        known = difference[1, level]
        expected = torch.stack([known.mean(), known.square().mean(), torch.ones(())])
        torch.testing.assert_close(module.normal[level], (1 - NORMAL_DECAY) * expected)
    mean = difference[1].mean(dim=(1, 2), keepdim=True)
    deviation = difference[1].std(dim=(1, 2), correction=0, keepdim=True)
    got = unusual((mean + 2 * deviation)[None], module.normal)
    assert float(got) == pytest.approx(0.5, abs=1e-3)
