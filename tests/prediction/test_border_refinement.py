"""Borders redrawn to what a patient's own lesion looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from wsseg.prediction.border_refinement import discriminate, enclosed, refine_borders

DEFAULTS: dict[str, Any] = {
    "threshold": 0.5,
    "reach": 4,
    "weight": 2.0,
    "smallest": 0.1,
    "outermost": True,
}


def disc(radius: float, size: int = 40) -> torch.Tensor:
    row, column = torch.meshgrid(*(torch.arange(size) - size // 2,) * 2, indexing="ij")
    return (row**2 + column**2 <= radius**2).expand(3, size, size)


@pytest.fixture
def patient() -> dict[str, torch.Tensor]:
    """A bright disc in noise, of which the first stage found too small a part."""
    truth, found = disc(8), disc(6)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 2, 40, 40, generator=generator) * 0.5
    image[:, 0] += 3 * truth
    probability = torch.where(found, 0.8, 0.2).masked_fill(~disc(12), 0.0)
    return {"probability": probability, "image": image, "valid": disc(18), "truth": truth}


def dice(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def run(patient: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    inputs = {name: value for name, value in patient.items() if name != "truth"}
    return refine_borders(**inputs, **DEFAULTS | options)


def test_a_mask_that_is_too_small_grows_to_the_border(patient: dict[str, torch.Tensor]) -> None:
    assert dice(patient["probability"] > 0.5, patient["truth"]) < 0.75
    assert dice(run(patient) > 0.5, patient["truth"]) > 0.95


def test_no_border_moves_further_than_its_reach(patient: dict[str, torch.Tensor]) -> None:
    patient["image"][:, 0] += 3 * disc(15)
    found = run(patient, reach=2) > 0.5
    assert not (found & ~disc(6 + 2 * 2**0.5)).any()


def test_nothing_grows_out_of_the_anatomy(patient: dict[str, torch.Tensor]) -> None:
    patient["valid"] = disc(7)
    assert not (run(patient)[~patient["valid"]] > 0.5).any()


def test_pixels_that_touch_the_mask_do_not_show_what_is_outside(
    patient: dict[str, torch.Tensor],
) -> None:
    column = torch.arange(40)
    patient["probability"] = torch.where(column >= 20, 0.8, 0.2).expand(3, 40, 40)
    patient["valid"] = torch.ones(3, 40, 40, dtype=torch.bool)
    alone: dict[str, Any] = {"rounds": 1, "outermost": False, "smallest": 0.0}  # pixel by pixel
    found = run(patient, **alone)
    changed = {}
    for place in (18, 19):  # the second column touches the mask
        image = patient["image"].clone()
        image[..., place] = 50.0
        changed[place] = run({**patient, "image": image}, **alone)
    others = column != 19
    torch.testing.assert_close(changed[19][..., others], found[..., others], rtol=0, atol=0)
    assert not torch.equal(changed[18][..., others], found[..., others])


def test_brighter_or_darker_is_the_same(patient: dict[str, torch.Tensor]) -> None:
    found = run(patient)
    patient["image"] = -patient["image"]
    torch.testing.assert_close(run(patient), found)


def test_holes_belong_to_what_is_outermost(patient: dict[str, torch.Tensor]) -> None:
    patient["image"][:, 0] -= 6 * disc(3)
    patient["probability"][disc(3)] = 0.0
    solid, ring = (run(patient, outermost=each) > 0.5 for each in (True, False))
    assert solid[disc(2)].all()
    assert not ring[disc(2)].any()


def test_an_inner_class_is_what_differs_from_the_rest_of_its_outer_class() -> None:
    core, oedema = disc(4), disc(10)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 2, 40, 40, generator=generator) * 0.3
    image[:, 0] += 3 * oedema
    image[:, 1] += 1.5 * core
    patient = {"probability": torch.where(disc(6), 0.8, 0.2), "image": image}
    within = run({**patient, "valid": oedema}, outermost=False) > 0.5
    assert dice(within, core) > 0.85
    assert dice(patient["probability"] > 0.5, core) < 0.7
    anywhere = run({**patient, "valid": disc(18)}, outermost=False) > 0.5
    assert dice(anywhere, core) < 0.7, "beside healthy tissue, oedema looks like the core"


def test_a_necrosis_at_the_surface_is_enclosed_and_a_lobe_behind_a_lesion_is_not() -> None:
    valid = disc(18)
    row = torch.arange(40)[:, None].expand(3, 40, 40)
    column = torch.arange(40).expand(3, 40, 40)
    around = disc(9).roll(-14, dims=1) & valid  # a lesion at the upper edge
    necrosis = disc(4).roll(-15, dims=1) & valid
    assert torch.equal(enclosed(around & ~necrosis, valid), necrosis)
    band = valid & (row >= 8) & (row < 12)
    assert (valid & (row < 8)).any()
    assert not enclosed(band, valid).any()
    apart = valid & (column != 30)  # a thin gap cuts a part off, which no lesion touches
    assert not enclosed(disc(3) & apart, apart).any()


def test_what_a_mask_encloses_without_the_edge_is_what_scipy_fills() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(8, 30, 30, generator=generator) > 0.4
    valid = torch.ones(8, 30, 30, dtype=torch.bool)
    mask[:, :3] = mask[:, -3:] = mask[:, :, :3] = mask[:, :, -3:] = False
    filled = torch.stack([torch.from_numpy(ndimage.binary_fill_holes(each)) for each in mask])
    assert torch.equal(enclosed(mask, valid), filled & ~mask)
    assert enclosed(mask, valid).any()


def test_specks_go(patient: dict[str, torch.Tensor]) -> None:
    patient["probability"][1, 20, 33] = 0.9
    assert run(patient)[1, 20, 33] < 0.5
    assert run(patient, smallest=0.0, weight=0.0)[1, 20, 33] > 0.5


def test_weight_0_leaves_borders_as_they_are(patient: dict[str, torch.Tensor]) -> None:
    found = run(patient, weight=0.0)
    assert torch.equal(found > 0.5, patient["probability"] > 0.5)


def test_a_case_without_lesion_stays_without(patient: dict[str, torch.Tensor]) -> None:
    patient["probability"] = torch.zeros(3, 40, 40)
    assert not run(patient).any()


def test_the_discriminant_is_scikit_learns() -> None:
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    generator = np.random.default_rng(0)
    inside = np.arange(300) < 60
    points = generator.normal(size=(300, 3)) @ generator.normal(size=(3, 3)) * 20
    points[inside] += [30, -10, 5]
    peer = discriminant.LinearDiscriminantAnalysis(solver="lsqr").fit(points, inside)
    prior = np.log(60 / 240)  # scikit-learn counts it in; here both sides are equally likely
    found = discriminate(
        torch.from_numpy(points), torch.from_numpy(inside), torch.from_numpy(~inside)
    ).numpy()
    # The ridge is small beside the variance of these data.
    np.testing.assert_allclose(found, peer.decision_function(points) - prior, rtol=1e-3, atol=1e-3)


def test_one_side_alone_says_nothing() -> None:
    points = torch.randn(5, 2, dtype=torch.float64)
    everywhere = torch.ones(5, dtype=torch.bool)
    assert not discriminate(points, everywhere, ~everywhere).any()
