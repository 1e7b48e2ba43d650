"""PxAP against a slow version that tries every threshold, and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from wsseg.evaluation.pixel_precision import PixelAveragePrecision


def drawn(seed: int, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Draw probabilities, some at thresholds, others between; masks that favour high ones."""
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(3, 2, 5, 7, generator=generator)
    probability[0] = (probability[0] * 4).round() / 4
    mask = torch.rand(3, 2, 5, 7, generator=generator) < share * probability
    valid = torch.rand(3, 5, 7, generator=generator) < 0.8
    return probability, mask, valid


def fed(probability: Tensor, mask: Tensor, valid: Tensor, order: list[int]) -> list[float | None]:
    metric = PixelAveragePrecision(classes=2)
    for rows in torch.tensor(order).split(2):
        metric.update(probability[rows], mask[rows], valid[rows], rows)
    return metric.compute()


def brute_force(probability: Tensor, truth: Tensor) -> float:
    area, before = 0.0, 0.0
    for threshold in np.linspace(0, 1, 1001, dtype=np.float32)[::-1]:
        found = probability >= float(threshold)
        if found.any():
            hits = float((found & truth).sum())
            recall, precision = hits / float(truth.sum()), hits / float(found.sum())
            area, before = area + precision * (recall - before), recall
    return area


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1))
def test_it_is_the_area_over_all_thresholds(seed: int, share: float) -> None:
    probability, mask, valid = drawn(seed, share)
    for c, got in enumerate(fed(probability, mask, valid, [2, 0, 1])):
        counted = valid | mask[:, c]
        said, truth = probability[:, c][counted], mask[:, c][counted]
        if not truth.any():
            assert got is None
            continue
        assert got == pytest.approx(brute_force(said, truth), abs=1e-9)
        theirs = binary_average_precision(said, truth.int(), thresholds=1001)
        assert got == pytest.approx(float(theirs), abs=1e-5)


def test_batches_and_repeats_do_not_matter() -> None:
    given = drawn(0, 0.5)
    assert fed(*given, order=[1, 0, 2, 1, 1]) == fed(*given, order=[0, 1, 2])


def test_a_class_that_is_drawn_nowhere_has_none() -> None:
    probability, mask, valid = drawn(0, 0.5)
    mask[:, 1] = False
    found, none = fed(probability, mask, valid, [0, 1, 2])
    assert found is not None
    assert none is None
