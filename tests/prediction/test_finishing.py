"""Masks of a case: borders redrawn, specks dropped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wsseg.data.plan import Plan
from wsseg.data.spec import DataSpec
from wsseg.models import Finishing
from wsseg.prediction.finishing import finish

CLASSES = {"whole": (1, 2), "core": (1,)}


def module(threshold: float = 0.5, **changes: Any) -> SimpleNamespace:
    spec = DataSpec(("FLAIR", "T1"), CLASSES, "axial", None, (48, 48))
    return SimpleNamespace(spec=spec, threshold=threshold, finishing=Finishing(**changes))


def disc(radius: float) -> torch.Tensor:
    row, column = torch.meshgrid(*(torch.arange(48) - 24,) * 2, indexing="ij")
    return (row**2 + column**2 <= radius**2).expand(3, 48, 48)


@pytest.fixture
def case() -> dict[str, torch.Tensor]:
    """A bright disc with a brighter core; the network sees too little of both, and a speck."""
    image = torch.randn(3, 2, 48, 48, generator=torch.Generator().manual_seed(0)) * 0.4
    image[:, 0] += 3 * disc(12)
    image[:, 1] += 3 * disc(7)
    probability = torch.stack([0.1 + 0.8 * disc(10), 0.05 + 0.7 * disc(5)], dim=1)
    probability[0, :, 4, 24] = 0.9
    return {"probability": probability, "image": image, "valid": disc(23)}


def dice(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_borders_of_every_class_go_where_intensities_change(case: dict[str, torch.Tensor]) -> None:
    drawn = case["probability"] > 0.5
    assert dice(drawn[:, 0], disc(12)) < 0.85
    assert dice(drawn[:, 1], disc(7)) < 0.75
    found = finish(module(), **case) > 0.5
    assert dice(found[:, 0], disc(12)) > 0.97
    assert dice(found[:, 1], disc(7)) > 0.95


def test_without_refinement_only_specks_go(case: dict[str, torch.Tensor]) -> None:
    found = finish(module(refinement=0.0), **case)
    expected = case["probability"].clone()
    expected[0, :, 4, 24] = 0.0
    assert torch.equal(found, expected)
    kept = finish(module(refinement=0.0, smallest_component=0.0), **case)
    assert torch.equal(kept, case["probability"])


def test_little_refinement_moves_borders_little(case: dict[str, torch.Tensor]) -> None:
    found, before = finish(module(refinement=0.01), **case) > 0.5, case["probability"] > 0.5
    assert dice(found[:, 0], before[:, 0]) > 0.95


@pytest.mark.parametrize("level", [0.0, 0.3, 0.7])
def test_the_border_lies_at_the_threshold(case: dict[str, torch.Tensor], level: float) -> None:
    masks = case["probability"] > level
    found = finish(module(threshold=level), **case)
    expected = finish(module(), **(case | {"probability": masks.float()})) > 0.5
    assert torch.equal(found > level, expected)
    assert found.min() >= 0
    assert found.max() <= 1


def test_nothing_comes_of_nothing(case: dict[str, torch.Tensor]) -> None:
    case["probability"] *= 0.1
    assert not finish(module(), **case).any()


def test_classes_stay_inside_each_other(case: dict[str, torch.Tensor]) -> None:
    case["image"][:, 1] += 3 * disc(16)  # the core's modality shows it far outside the tumour
    found = finish(module(), **case) > 0.5
    assert not (found[:, 1] & ~found[:, 0]).any()


def test_intensities_have_more_of_a_say_within_a_class(case: dict[str, torch.Tensor]) -> None:
    """The network takes nearly all of the tumour for its core."""
    case["probability"][:, 1] = 0.05 + 0.7 * disc(9)
    found = finish(module(), **case) > 0.5
    assert dice(disc(9), disc(7)) < 0.78
    assert dice(found[:, 1], disc(7)) > 0.95


def colour_picture(side: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A noisy picture with a red square, of which the network sees two thirds; the square."""
    square = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    square[..., 30 : 30 + side, 30 : 30 + side] = True
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.1
    image[:, :1] += 3 * square
    seen = torch.zeros_like(square)
    seen[..., 30 : 30 + side, 30 : 30 + 2 * side // 3] = True
    probability = (0.02 + 0.9 * seen).repeat(1, 2, 1, 1)
    valid = torch.ones(1, 96, 96, dtype=torch.bool)
    return {"probability": probability, "image": image, "valid": valid}, square


@pytest.mark.parametrize("side", [12, 40])
def test_masks_of_colour_pictures_follow_their_regions(side: int) -> None:
    given, square = colour_picture(side)
    colours = DataSpec(
        ("red", "green", "blue"), CLASSES, "axial", None, (96, 96), plan=Plan("picture", "whole")
    )
    painted = SimpleNamespace(spec=colours, threshold=0.5, finishing=Finishing())
    found = finish(painted, **given) > 0.5
    assert dice(found[:, :1], square) > dice(given["probability"][:, :1] > 0.5, square)
    assert dice(found[:, :1], square) > 0.9
    assert not (found[:, 1] & ~found[:, 0]).any()  # the core lies in the whole
    given["probability"] *= 0.5
    assert not (finish(painted, **given) > 0.5).any()  # nothing was seen
