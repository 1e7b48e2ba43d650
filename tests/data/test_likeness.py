"""Sides and patients that look alike are told from those that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsseg.data.likeness import (
    Slices,
    decide_comparable,
    decide_symmetric,
    likeness_of_patients,
    likeness_of_sides,
    some_slices,
    structures,
)
from wsseg.data.store_files import ArrayFolder
from wsseg.data.workers import mapper


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, 2, 64, 64))
    return gaussian_filter(drawn, (0, 0, 3, 3)).astype(np.float32)


def slices(image: NDArray[np.float32], patients: int = 4) -> Slices:
    valid = np.zeros((len(image), 64, 64), bool)
    valid[:, 4:-4, 8:-12] = True  # the middle of which is not that of the slice
    number = np.arange(len(image))
    return Slices(structures(image, valid), valid, number // patients, number % patients)


def mirrored(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflect slices about the middle of what is valid of them."""
    return image[..., (2 * 29.5 - np.arange(64)).astype(int).clip(0, 63)]


def test_symmetric_slices() -> None:
    image = noise(8)
    assert likeness_of_sides(slices(image + mirrored(image))) > 0.9
    assert abs(likeness_of_sides(slices(image))) < 0.2
    assert decide_symmetric(slices(image + mirrored(image))).value is True
    assert decide_symmetric(slices(image)).value is False


def test_layers_are_no_symmetry() -> None:
    rows = gaussian_filter(np.random.default_rng(1).normal(size=(8, 1, 64, 1)), (0, 0, 2, 0))
    layers = np.broadcast_to(20 * rows, (8, 2, 64, 64)).astype(np.float32)
    assert likeness_of_sides(slices(layers + noise(8))) < 0.2


def test_comparable_patients() -> None:
    levels = noise(2, seed=1).repeat(4, axis=0)
    assert decide_comparable(slices(levels + noise(8))).value is True
    found = likeness_of_patients(slices(levels + noise(8)))
    assert found == pytest.approx(0.5, abs=0.15)  # half of the variance is that of the level
    assert decide_comparable(slices(noise(8))).value is False


def test_one_patient_is_comparable_to_none() -> None:
    assert likeness_of_patients(slices(noise(8), patients=1)) is None
    assert decide_comparable(slices(noise(8), patients=1)).value is False


def test_untagged_slices_are_taken(tmp_path: Path) -> None:
    images, valid = ArrayFolder(tmp_path / "images"), ArrayFolder(tmp_path / "valid")
    cases = []
    for name in "ab":
        images.write(name, noise(20).astype(np.float16))
        valid.write(name, np.ones((20, 64, 64), bool))
        cases.append({"id": name, "tags": [[n % 2] for n in range(20)], "patient": name})
    with mapper(workers=1, jobs=2) as run:
        found = some_slices(run, images, valid, cases, (64, 64))
        assert found.image.shape == (20, 2, 64, 64)
        assert set(found.patient) == {0, 1}
        assert found.level.tolist() == 2 * [0, 0, 1, 2, 3, 4, 4, 5, 6, 7]
        for case in cases:
            case["tags"] = [[1]] * 20
        assert len(some_slices(run, images, valid, cases, (64, 64)).image) == 40
        assert some_slices(run, images, valid, cases, (192, 192)).image.shape[-1] == 32
