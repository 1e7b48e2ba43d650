"""Every entry of a plan follows from what images are like, or from an option."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wsseg.data.fingerprint import Fingerprint, fingerprint_of
from wsseg.data.geometry import Geometry, whole_plane_geometry
from wsseg.data.planning import Planned, make_plan

VALUES = (np.linspace(-1000, 1500, 501, dtype=np.float32),)
MRI = Fingerprint(False, False, 0.0, 0.99, 0.2, VALUES)
SCAN = Fingerprint(False, True, 0.02, 0.6, 0.4, VALUES)
PICTURE = Fingerprint(True, False, 0.0, 0.0, 1.0, VALUES)
NOTHING = dict.fromkeys(("normalisation", "window", "body", "longest_side", "spacing", "size"))


def planes(*lengths: int, pixel: float = 1.0) -> list[Geometry]:
    affine = np.diag([pixel, pixel, 1, 1])
    return [whole_plane_geometry((n, n // 2, 1), affine, "axial", None) for n in lengths]


def planned(*like: Fingerprint, lengths: Any = (240, 240), **options: Any) -> Planned:
    pixel = options.pop("pixel", 1.0)
    return make_plan(like, planes(*lengths, pixel=pixel), "mm", {**NOTHING, **options})


@pytest.mark.parametrize(
    ("like", "normalisation", "body"),
    [
        (MRI, "zscore", "nonzero"),
        (replace(MRI, empty=0.5), "zscore", "threshold"),
        (replace(MRI, covered=0.98), "zscore", "whole"),
        (SCAN, "window", "threshold"),
        (PICTURE, "picture", "whole"),
    ],
)
def test_kinds_of_images(like: Fingerprint, normalisation: str, body: str) -> None:
    found = planned(like, like)
    assert (found.plan.normalisation, found.plan.body) == (normalisation, body)
    assert bool(found.plan.scales) == (normalisation != "zscore")
    assert set(found.reasons) == {"normalisation", "body", "longest_side", "spacing"}
    assert all(found.reasons.values())


def test_pictures_among_volumes_are_no_pictures() -> None:
    assert planned(MRI, PICTURE, MRI).plan.normalisation == "zscore"


@pytest.mark.parametrize(
    ("lengths", "side"),
    [
        ((96, 96, 96), None),
        ((283, 387, 387), None),
        ((300, 500, 1000), 256),
        ((768, 768), 256),
        ((100, 120, 300), 120),
    ],
)
def test_pictures_of_many_sizes_get_one(lengths: Any, side: int | None) -> None:
    assert planned(PICTURE, lengths=lengths).plan.longest_side == side


def test_volumes_keep_their_pixels_but_for_large_scans() -> None:
    assert planned(MRI, lengths=(512, 512)).spacing is None
    assert planned(SCAN, lengths=(512, 512), pixel=0.75).spacing == 1.5
    assert planned(SCAN, lengths=(128, 128), pixel=2.0).spacing == 2.0


def test_windows() -> None:
    (scale,) = planned(SCAN).plan.scales
    assert (scale.low, scale.high) == (-175, 250)
    assert planned(replace(SCAN, lung=0.3)).plan.scales[0][:2] == (-1000, 400)
    assert -175 < scale.mean < 250
    assert scale.deviation > 50


@pytest.mark.parametrize(
    "options",
    [
        {"normalisation": "picture", "body": "threshold"},
        {"normalisation": "zscore", "body": "whole", "longest_side": 64},
        {"spacing": 3.0},
        {"window": [0, 80]},
    ],
)
def test_options_win(options: dict[str, Any]) -> None:
    found = planned(PICTURE, lengths=(300, 900), **options)
    for name, value in options.items():
        if name == "window":
            assert found.plan.normalisation == "window"
            assert list(found.plan.scales[0][:2]) == value
        elif name == "spacing":
            assert found.spacing == value
            assert found.plan.longest_side is None
        else:
            assert getattr(found.plan, name) == value
            assert "given" in found.reasons[name]


def test_a_given_size_bounds_pictures() -> None:
    assert planned(PICTURE, lengths=(300, 900), size=[128, 96]).plan.longest_side == 128


def test_data_of_which_nothing_could_be_read_has_a_plan() -> None:
    assert planned().plan.normalisation == "zscore"


def test_what_fingerprints_tell() -> None:
    scan = np.full((2, 40, 40), -1000, np.int16)
    scan[:, 10:30, 10:30] = 50
    scan[:, 14:22, 14:22] = -800
    found = fingerprint_of([scan], [-1000.0], picture=False)
    assert found.hounsfield
    assert found.lung == pytest.approx(64 / 400, abs=0.02)
    assert found.covered == pytest.approx(400 / 1600, abs=0.02)
    assert found.empty > 0.99
    noise = np.random.default_rng(0).uniform(1, 4, scan.shape)
    head = np.where(scan > -1000, 100 + noise, noise)
    assert fingerprint_of([head], [0.0], picture=False).empty == 0
    assert not fingerprint_of([head], [0.0], picture=False).hounsfield
    assert fingerprint_of([head], [0.0], picture=True).covered == 1
