"""Nested classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.data.spec import DataSpec, containers, nest
from wsseg.models import CamModule
from wsseg.segmentation import SegmentationModule

CLASSES = {"core": (1, 3, 4), "whole": (1, 2, 3, 4), "enhancing": (4,), "other": (9,)}


def test_a_class_lies_in_those_that_have_its_labels_and_more() -> None:
    assert containers(CLASSES) == [[1], [], [0, 1], []]
    assert containers({"one": (1,), "same": (1,)}) == [[], []]


@given(seed=st.integers(0, 1000), threshold=st.floats(0, 1))
def test_masks_lie_in_each_other_at_any_threshold(seed: int, threshold: float) -> None:
    probability = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
    nested = nest(probability, containers(CLASSES))
    core, whole, enhancing, other = (nested > threshold).unbind(dim=1)
    assert not (core & ~whole).any()
    assert not (enhancing & ~core).any()
    assert torch.equal(whole, probability[:, 1] > threshold)
    assert torch.equal(other, probability[:, 3] > threshold)


@pytest.mark.parametrize("kind", [CamModule, SegmentationModule])
def test_modules_predict_nested_classes(kind: type[torch.nn.Module]) -> None:
    spec = DataSpec(("T1",), dict(CLASSES), "axial", 2.0, (32, 32)).to_dict()
    torch.manual_seed(0)
    module = kind(spec, widths=(4, 8, 8)).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    found = module(torch.rand(1, 1, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool))
    assert bool((found[:, 0] <= found[:, 1]).all())
    assert bool((found[:, 2] <= found[:, 0]).all())
    assert not torch.equal(found[:, 3], found[:, 2])
