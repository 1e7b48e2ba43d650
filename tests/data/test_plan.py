"""The plan of a data set checks itself, and modules follow it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsseg.clustering import Asymmetry, Deviation
from wsseg.data.layouts.cases import CaseFiles, ImageFile
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan, Reference
from wsseg.data.preparation import prepare
from wsseg.data.slicing import slices_to_volume
from wsseg.data.spec import DataSpec
from wsseg.data.store import SliceStore
from wsseg.models import CamModule
from wsseg.prediction.raw import read_raw_case
from wsseg.utils.errors import InputError

REFERENCE = Reference((((0.0, 2.0), (3.0, 4.0), (5.0, 9.5)),), (0.5, 0.75), (70, 90), ((0.2, 0.5),))
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


@pytest.mark.parametrize(
    "changed", [{"filling": (1.0, 0.5)}, {"intensities": (((0.0, 1.0),),)}, {"middles": ()}]
)
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


SIZES = ((300, 200), (120, 100), (640, 480), (100, 150))


def write_pictures(folder: Path) -> Path:
    """Write a table of pictures of many sizes, each with a dark square in its upper left part."""
    lines = ["image,mask,lesion"]
    for number in range(8):
        width, height = SIZES[number % 4]
        drawn = np.random.default_rng(number).integers(100, 130 + 10 * number, (height, width))
        mask = np.zeros((height, width), np.uint8)
        mask[height // 8 : height // 3, width // 8 : width // 3] = 255 * (number < 5)
        drawn[mask > 0] //= 4
        Image.fromarray(drawn.astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
        lines.append(f"{number}.png,{number}_mask.png,{int(number < 5)}")
    (folder / "tags.csv").write_text("\n".join(lines) + "\n")
    return folder / "tags.csv"


def test_pictures_of_many_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepare("table", write_pictures(tmp_path), tmp_path / "store", folds=2, workers=1)
    shown = capsys.readouterr().out
    assert "normalisation" in shown
    assert "longer sides are of 120 to 640 pixels" in " ".join(shown.replace("│", " ").split())
    store = SliceStore(out)
    plan = store.spec.plan
    assert (plan.normalisation, plan.body, plan.unit) == ("picture", "whole", "px")
    assert not plan.symmetric
    assert plan.longest_side == 256
    assert store.spec.size == (256, 256)
    areas = [int(store.valid[name][0].sum()) for name in store.cases]
    assert areas == 2 * [256 * 171, 256 * 213, 256 * 192, 171 * 256]
    means = [float(store.images[name][store.valid[name][:, None]].mean()) for name in store.cases]
    assert means[7] > means[5] > means[4]  # the darkest has a lesion, the others ever more light
    assert plan.reference
    assert plan.reference.filling == (1, 1)
    assert plan.reference.extent == (256, 256)
    for name in store.cases:  # what is found goes back to the picture's own pixels
        raw = read_raw_case(
            CaseFiles(name, {"image": ImageFile(tmp_path / f"{name}.png")}), store.spec
        )
        assert np.abs(raw.image.numpy() - np.float32(store.images[name])).max() < 0.01
        truth = np.asarray(Image.open(tmp_path / f"{name}_mask.png")).T > 0
        masks = np.load(out / "masks" / f"{name}.npy").astype(np.float32)
        back = slices_to_volume(masks, raw.geometry)[0, :, :, 0] > 0.5
        assert back.shape == truth.shape
        assert (back != truth).mean() < 0.01


def test_every_entry_can_be_given(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "normalisation": "zscore",
        "body": "threshold",
        "longest_side": 64,
        "symmetric": True,
        "comparable": True,
    }
    table = write_pictures(tmp_path)
    out = prepare("table", table, tmp_path / "store", folds=2, workers=1, **given)
    manifest = json.loads((out / "manifest.json").read_text())
    plan = manifest["spec"]["plan"]
    assert {name: plan[name] for name in given} == given
    assert all("given" in manifest["reasons"][name] for name in given)
    before = (out / "manifest.json").stat().st_mtime_ns
    prepare("table", table, out, folds=2, workers=1, **given)
    assert (out / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="with other options"):
        prepare("table", table, out, folds=2, workers=1, **{**given, "longest_side": 32})


@pytest.mark.parametrize("option", [{"window": [3.0, 2.0]}, {"window": [1.0]}, {"longest_side": 0}])
def test_options_out_of_range(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(option))} .+: is out of range"):
        prepare("table", write_pictures(tmp_path), tmp_path / "store", **option)


def test_a_case_without_any_body_is_named(tmp_path: Path) -> None:
    table = write_pictures(tmp_path)
    dark = np.zeros((150, 100), np.uint8)
    dark[50, 50:53] = 1, 2, 3
    Image.fromarray(dark).save(tmp_path / "7.png")
    with pytest.raises(InputError, match=r"7\.png: case 7 shows no body \(`threshold`\); remove"):
        prepare(
            "table", table, tmp_path / "store", workers=1, folds=2, body="threshold", window=[1, 9]
        )
