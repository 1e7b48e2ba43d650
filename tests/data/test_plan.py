"""The plan of a data set checks itself, and modules follow it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from wsseg.clustering import Asymmetry, Deviation
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan, Reference
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.utils.errors import InputError

REFERENCE = Reference((((0.0, 2.0), (3.0, 4.0), (5.0, 9.5)),), (0.5, 0.75), (70, 90))
PLAN = Plan("picture", "whole", "px", 256, (Scale(0.0, 255.0, 100.0, 50.0),), reference=REFERENCE)
SPEC = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (32, 32))


def test_it_survives_json() -> None:
    spec = replace(SPEC, plan=PLAN)
    assert DataSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_specifications_of_earlier_checkpoints_have_todays_default() -> None:
    plain = SPEC.to_dict()
    del plain["plan"]
    assert DataSpec.from_dict(plain) == SPEC


@pytest.mark.parametrize(
    "changed",
    [
        {"normalisation": "none"},
        {"body": "round"},
        {"unit": "inch"},
        {"symmetric": None},
        {"comparable": 1},
        {"longest_side": 0},
        {"longest_side": True},
        {"scales": (Scale(0.0, 1.0, 0.5, 0.0),)},
        {"scales": (Scale(1.0, 0.0, 0.5, 1.0),)},
        {"scales": (Scale(0.0, float("nan"), 0.5, 1.0),)},
        {"normalisation": "zscore"},  # which has no scales of its own
    ],
)
def test_a_plan_that_cannot_be(changed: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"plan: .+; "):
        replace(PLAN, **changed)


@pytest.mark.parametrize("changed", [{"filling": (1.0, 0.5)}, {"intensities": (((0.0, 1.0),),)}])
def test_a_reference_that_cannot_be(changed: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="plan: reference"):
        replace(REFERENCE, **changed)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("comparable", [True, False])
def test_networks_and_clusters_see_what_the_plan_says(symmetric: bool, comparable: bool) -> None:
    spec = replace(SPEC, plan=Plan(symmetric=symmetric, comparable=comparable)).to_dict()
    module = CamModule(spec, widths=(4, 8), embedding_widths=(4, 8))
    assert module.symmetric == symmetric
    assert module.cluster_views == [Asymmetry()] * symmetric + [Deviation()] * comparable
    told = CamModule(spec, widths=(4, 8), embedding_widths=(4, 8), symmetry=not symmetric)
    assert told.symmetric != symmetric
