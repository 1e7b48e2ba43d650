"""The learning rate's course and how a mean teacher follows."""

from __future__ import annotations

import pytest
import torch

from wsseg.models.mean_teacher import update_average
from wsseg.models.schedules import one_cycle


def test_the_rate_rises_then_falls_to_zero_and_stays() -> None:
    rates = [one_cycle(step, 100) for step in range(100)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(1)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert one_cycle(100, 100) == one_cycle(1000, 100) == pytest.approx(0)


def test_the_rate_of_an_endless_run_stays_at_its_start() -> None:
    assert one_cycle(10_000, float("inf")) == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("updates", "expected"), [(0, 1.0), (1, 9 / 11), (90, 0.09), (10_000, 0.05)]
)
def test_the_teacher_follows_fast_at_first(updates: int, expected: float) -> None:
    slow, count = torch.zeros(3), torch.tensor(5)
    update_average(
        [slow, count], [torch.ones(3), torch.tensor(7)], torch.tensor(updates), decay=0.95
    )
    torch.testing.assert_close(slow, torch.full((3,), expected))
    assert int(count) == 7  # what cannot be averaged is copied
