"""Cases that do not look like those of training are told, and the others are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsseg.data.anatomy import find_anatomy, reference_of
from wsseg.data.plan import Plan, Reference
from wsseg.data.readers import read_voxels
from wsseg.data.spec import DataSpec
from wsseg.prediction.fit_to_plan import misfit

SHAPE = (40, 30, 8)
MRI = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (32, 48))
PICTURE = replace(MRI, modalities=("image",), plan=Plan("picture", "whole", "px"))


def scan(seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """A body of mostly dark tissue in the middle of a volume of air."""
    grid = np.indices(SHAPE).reshape(3, -1).T - (np.array(SHAPE) - 1) / 2
    inside = ((grid / (np.array(SHAPE) * 0.4)) ** 2).sum(axis=1).reshape(SHAPE) < 1
    tissue = 40 + np.random.default_rng(seed).exponential(30, SHAPE).clip(0, 200)
    return np.where(inside, tissue, 0).astype(np.float32) * np.float32(scale)


def seen(volume: np.ndarray, spec: DataSpec = MRI) -> Reference:
    return reference_of(find_anatomy([volume], np.diag([-1.0, -1.0, 1.0, 1.0]), spec))


def trained(spec: DataSpec = MRI, **changes: Any) -> Plan:
    cases = [seen(scan(seed), spec) for seed in range(5)]
    return replace(spec.plan, reference=Reference.over(cases), **changes)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 50.0])
def test_another_case_and_another_unit_of_intensity_fit(scale: float) -> None:
    assert not misfit(seen(scan(9, scale)), trained(), MRI.modalities)


def test_nothing_is_said_where_nobody_noted_what_training_looked_like() -> None:
    assert not misfit(seen(np.ones(SHAPE, np.float32)), Plan(), MRI.modalities)


def test_air_that_was_not_masked() -> None:
    air = np.random.default_rng(1).random(SHAPE).astype(np.float32) + 0.1
    said = misfit(seen(np.where(scan() == 0, air, scan())), trained(), MRI.modalities)
    assert said == "what counts as body fills 100 % of its box, in training 56 %: " + (
        "mask the air, as there"
    )


def test_body_that_was_masked_where_training_had_all() -> None:
    whole = [seen(scan(seed) + 1) for seed in range(3)]
    plan = Plan(reference=Reference.over(whole))
    assert "more is masked than there" in misfit(seen(scan()), plan, MRI.modalities)


@pytest.mark.parametrize("spec", [MRI, PICTURE])
def test_black_and_white_exchanged(spec: DataSpec) -> None:
    volume = scan(9)
    exchanged = np.where(volume > 0, 240 + 40 - volume, 0) if spec is MRI else 240 - volume
    said = misfit(seen(exchanged, spec), trained(spec), spec.modalities)
    assert said.endswith("looks as if black and white were exchanged: invert it")


def test_a_grey_picture_where_training_had_colours() -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    spec = replace(PICTURE, modalities=("red", "green", "blue"))
    colours = [[scan(seed), scan(seed) / 2, scan(seed) / 3] for seed in range(5)]
    cases = [reference_of(find_anatomy(each, affine, spec)) for each in colours]
    plan = replace(spec.plan, reference=Reference.over(cases))
    assert not misfit(cases[0], plan, spec.modalities)
    grey = reference_of(find_anatomy([scan(9)] * 3, affine, spec))
    said = misfit(grey, plan, spec.modalities)
    assert said == "red, green, blue are the same image, unlike in training"
    assert not misfit(grey, replace(plan, reference=Reference.over([grey])), spec.modalities)


def test_another_size() -> None:
    large = scan(9).repeat(2, axis=0).repeat(2, axis=1)
    said = misfit(seen(large), trained(), MRI.modalities)
    assert said == "the body is 64 pixels long, in training 32: " + (
        "resample or cut the image to their size"
    )


def test_another_scale_of_intensity_where_training_had_one() -> None:
    plan = trained(PICTURE)
    said = misfit(seen(scan(9) * 10 + 500, PICTURE), plan, PICTURE.modalities)
    assert said.startswith("image has a median of 5")
    assert said.endswith("give images on the scale of those")


def test_real_pictures(shared_data: Path, tmp_path: Path) -> None:
    """Each of forty pictures against the others, as it is and with black and white exchanged."""
    paths = sorted((shared_data / "busi" / "images").iterdir())[:40]
    grey = [np.asarray(Image.open(path).convert("L")) for path in paths]
    for number, picture in enumerate(grey):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    volumes = [read_voxels(tmp_path / f"{n}.png", "")[1] for n in range(len(grey))]
    cases = [seen(volume, PICTURE) for volume in volumes]
    found = []
    for n, volume in enumerate(volumes):
        plan = replace(PICTURE.plan, reference=Reference.over(cases[:n] + cases[n + 1 :]))
        found.append(
            [misfit(each, plan, ["image"]) for each in (cases[n], seen(255 - volume, PICTURE))]
        )
    assert sum(bool(fits) for fits, _ in found) <= 2
    assert sum("exchanged" in exchanged for _, exchanged in found) >= 0.6 * len(found)
