"""Air is left out, whatever value it has, and nothing of the body is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from wsseg.data.body import background_of, denser_than_air
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan
from wsseg.data.slicing import volume_to_slices
from wsseg.data.spec import DataSpec

ROW, COLUMN = np.indices((64, 64))
TRUNK = ((ROW - 30) / 18) ** 2 + ((COLUMN - 32) / 26) ** 2 < 1
LUNG = ((ROW - 30) / 8) ** 2 + ((COLUMN - 20) / 8) ** 2 < 1
CT = Plan("window", "threshold", scales=(Scale(-175.0, 250.0, 20.0, 80.0),))
SPEC = DataSpec(("CT",), {"tumour": (1,)}, "axial", None, (64, 64), CT)


def scan(air: float = -1000.0, outside_field: float | None = None) -> NDArray[np.float32]:
    """A trunk with a lung over a couch, [1, 64, 64] in Hounsfield units."""
    noise = np.random.default_rng(0).normal(0, 15, (64, 64))
    image = np.where(TRUNK, 40, air if air != -1000 else -1000 + noise)
    image = np.where(LUNG, -800, image + noise * TRUNK)
    image[50:52] = -100 if air == -1000 else air  # the couch
    if outside_field is not None:
        image = np.where((ROW - 31.5) ** 2 + (COLUMN - 31.5) ** 2 > 31**2, outside_field, image)
    return image[None].astype(np.float32)


@pytest.mark.parametrize("image", [scan(), scan(0.0), scan(-1024.0), scan(outside_field=-3024.0)])
def test_a_trunk_in_any_air(image: NDArray[np.float32]) -> None:
    found = denser_than_air([image], hounsfield=True)[0]
    assert (found == TRUNK).mean() > 0.99
    assert found[LUNG].all()
    assert not found[:, :4].any()


def test_two_legs_are_body_and_a_speck_is_not() -> None:
    image = np.full((1, 40, 80), -1000, np.int16)
    image[:, 10:30, 10:30] = image[:, 10:30, 50:70] = 30
    image[:, 35:39, 70:76] = 200
    found = denser_than_air([image], hounsfield=True)[0]
    assert found[20, 20]
    assert found[20, 60]
    assert not found[37, 73]


def test_a_head_in_noisy_air() -> None:
    noise = np.random.default_rng(0).rayleigh(3, (2, 64, 64))
    image = np.where(TRUNK, 200 + 5 * noise, noise).astype(np.uint16)
    image[:, 28:32, 30:40] = 0  # a dark ventricle
    found = denser_than_air([image], hounsfield=False)
    assert (found == TRUNK).mean() > 0.95


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_background(kind: type) -> None:
    volume = np.full((4, 5, 6), -2000, kind)
    volume[1:3, 1:3, 1:3] = 7
    assert background_of(volume) == -2000
    volume[0, 0, 0] = 1
    assert background_of(volume) == 0


def test_all_of_a_picture_is_body() -> None:
    spec = replace(SPEC, plan=Plan("picture", "whole", "px", scales=CT.scales))
    image = np.zeros((30, 20, 1), np.uint8)
    image[4, 4] = 9
    slices = volume_to_slices([image], np.diag([-1, -1, 1, 1]), spec)
    assert slices.valid.sum() == 30 * 20


def test_networks_see_the_same_of_masked_and_of_padded_scans() -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    plain, *others = (
        volume_to_slices([image.transpose(2, 1, 0)], affine, SPEC)
        for image in (scan(), scan(0.0), scan(outside_field=-2000.0))
    )
    for other in others:
        assert (plain.valid == other.valid).mean() > 0.99
        both = plain.valid & other.valid
        assert np.abs(plain.image[:, 0][both] - other.image[:, 0][both]).max() < 1e-5


def test_a_real_scan_with_and_without_its_air(shared_data: Path) -> None:
    path = shared_data / "chaos-ct/ct.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    image = nib.load(path)
    volume = np.asarray(image.dataobj)[:, :, 30:33]
    body = denser_than_air([volume.transpose(2, 0, 1)], hounsfield=True).transpose(1, 2, 0)
    assert 0.3 < body.mean() < 0.5
    spec = replace(SPEC, spacing=1.45, size=(176, 240))
    plain, masked = (
        volume_to_slices([each], image.affine, spec) for each in (volume, np.where(body, volume, 0))
    )
    assert (plain.valid == masked.valid).mean() > 0.999
    both = plain.valid & masked.valid
    assert np.abs(plain.image[:, 0][both] - masked.image[:, 0][both]).mean() < 0.01


def test_real_heads_with_skulls(shared_data: Path) -> None:
    folder = shared_data / "lgg-tcga-64/TCGA_CS_4941_19960909"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    images = [nib.load(folder / f"{name}.nii.gz") for name in ("pre", "flair", "post")]
    spec = replace(SPEC, modalities=("T1", "FLAIR", "T1ce"), plan=Plan(body="threshold"))
    slices = volume_to_slices([np.asarray(i.dataobj) for i in images], images[0].affine, spec)
    assert 0.5 < slices.valid.mean() < 0.7


def test_a_background_that_keeps_its_value() -> None:
    plan = replace(CT, body="nonzero")
    image = np.where(TRUNK, 40, -1024)[None].astype(np.int16).transpose(2, 1, 0)
    slices = volume_to_slices([image], np.diag([-1.0, -1.0, 1.0, 1.0]), replace(SPEC, plan=plan))
    assert slices.valid.sum() == TRUNK.sum()
    assert slices.image[0, 0][slices.valid[0]] == pytest.approx((40 - 20) / 80)
