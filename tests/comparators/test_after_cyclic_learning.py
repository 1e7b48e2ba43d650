"""Labels and feedback of cyclic learning, against versions that go one by one."""

from __future__ import annotations

import math

import torch

from tests.comparators.conftest import batch, small
from wsseg.comparators import AfterCyclicLearning
from wsseg.comparators.after_cyclic_learning import (
    HARDLY,
    SURELY,
    attended_logits,
    confident_labels,
)


def test_a_pixel_is_labelled_where_the_map_is_sure_and_tags_allow_it() -> None:
    relevance = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    valid, tags = batch(4)["valid"][:3, :6, :5], torch.tensor([[1.0, 0.0], [0, 1], [math.nan, 1]])
    got = confident_labels(relevance, valid, tags)
    for b, c, y, x in torch.cartesian_prod(*map(torch.arange, got.shape)).tolist():
        value, tag = float(relevance[b, c, y, x]), float(tags[b, c])
        if not valid[b, y, x] or math.isnan(tag):
            expected = -1.0
        elif tag == 0:
            expected = 0.0
        else:
            expected = 1.0 if value > SURELY else 0.0 if value <= HARDLY else -1.0
        assert got[b, c, y, x] == expected
    assert set(got.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_feedback_averages_the_map_of_the_classifier_where_nuclei_are() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, attention = (torch.rand(2, 2, 4, 5, generator=generator) for _ in range(2))
    valid = torch.rand(2, 4, 5, generator=generator) > 0.3
    attention[0, 1] = 0
    got = attended_logits(maps, attention, valid)
    for b in range(2):
        for c in range(2):
            pixels = valid[b].nonzero().tolist()
            weights = [float(attention[b, c, y, x]) for y, x in pixels]
            values = [float(maps[b, c, y, x]) for y, x in pixels]
            total = sum(w * v for w, v in zip(weights, values, strict=True))
            expected = total / sum(weights) if sum(weights) else 0.0
            assert math.isclose(got[b, c], expected, rel_tol=1e-5)


def test_nuclei_teach_the_shared_layers_but_not_the_labels() -> None:
    module = small(AfterCyclicLearning)
    view = module.augment(batch())
    assert not view["target"].requires_grad
    module.losses(view, view["image"])["nuclei"].backward()
    shared = next(module.network.parameters()).grad
    assert shared is not None
    assert shared.abs().max() > 0
    assert module.network.classifier.fine_head.weight.grad is None
