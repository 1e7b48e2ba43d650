"""The parts of the method, each against a version that goes pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch

from tests.comparators.conftest import batch, small
from wsseg.comparators import AfterCompressedEquivariance
from wsseg.comparators import after_compressed_equivariance as method
from wsseg.comparators.after_compressed_equivariance import (
    LEAST_PROBABILITY,
    correlate,
    joint_entropy,
    kept,
)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 2, 5, 4, generator=generator)
    keys = torch.randn(2, 3, 5, 4, generator=generator)
    return maps, keys, torch.rand(2, 5, 4, generator=generator) < 0.7


def test_attention_is_the_average_over_all_pairs_of_pixels() -> None:
    maps, keys, valid = inputs()
    expected = torch.zeros_like(maps)
    places = [(y, x) for y in range(5) for x in range(4)]
    for b in range(2):
        for y, x in places:
            total, sums = 0.0, [0.0, 0.0]
            for v, u in (place for place in places if valid[(b, *place)]):
                p, q = keys[b, :, y, x], keys[b, :, v, u]
                alike = sum(float(i * j) for i, j in zip(p, q, strict=True) if i * j > 0)
                alike /= float(p.norm() * q.norm())
                total += alike
                sums = [s + alike * float(maps[b, c, v, u]) for c, s in enumerate(sums)]
            expected[b, :, y, x] = torch.tensor(sums) / total
    torch.testing.assert_close(correlate(maps, keys, valid), expected)


def test_entropy_is_that_of_both_maps_together() -> None:
    one, keys, valid = inputs()
    other = keys[:, :2].sigmoid()
    other[0, 0, 0, 0] = one[0, 0, 0, 0] = 1.0
    values = []
    for b, y, x in valid.nonzero().tolist():
        for c in range(2):
            p = float(one[b, c, y, x] + other[b, c, y, x]) / 2
            p = min(max(p, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
            values.append(-p * math.log(p) - (1 - p) * math.log(1 - p))
    torch.testing.assert_close(joint_entropy(one, other, valid), torch.tensor(values).mean())


def test_pixels_that_no_branch_sees_have_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    module, given = small(AfterCompressedEquivariance), batch()
    names = ("suppression", "equivariance", "correlation", "entropy")
    torch.manual_seed(0)
    usual = module.losses(given, given["image"])
    assert all(usual[name] > 0 for name in names)
    monkeypatch.setattr(method, "MASKED_SHARE", 1.0)
    hidden = module.losses(given, given["image"])
    assert all(hidden[name] == 0 for name in names)
    assert torch.isfinite(hidden["classification"])


def test_a_share_of_the_pixels_is_masked() -> None:
    torch.manual_seed(0)
    seen = kept(torch.ones(4, 64, 64, dtype=torch.bool)).float().mean()
    assert abs(1 - float(seen) - method.MASKED_SHARE) < 0.02
