"""What intensity alone finds, and the choice among guesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.conftest import write_store
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation.floors import FLOORS, best_guesses, guess_names
from wsseg.utils.errors import InputError


def picture(value: float, channel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a picture of two channels with noise and one square; return image, valid and truth."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.1, (1, 2, 64, 64)).astype(np.float32)
    truth = np.zeros((1, 64, 64), bool)
    truth[0, 20:30, 34:44] = True
    image[:, channel][truth] = value
    return image, np.ones_like(truth), truth


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize(("value", "channel"), [(4, 0), (4, 1), (-4, 0), (-4, 1)])
def test_one_of_the_guesses_finds_the_square_by_its_name(
    floor: str, value: float, channel: int
) -> None:
    image, valid, truth = picture(value, channel)
    guesses = list(FLOORS[floor](image, valid))
    names = guess_names(floor, ["red", "blue"])
    assert len(guesses) == len(names)
    overlap = [2 * ((g > 0) & truth).sum() / ((g > 0).sum() + truth.sum()) for g in guesses]
    best = int(np.argmax(overlap))
    assert overlap[best] > (0.6 if floor == "blob" else 0.95)
    assert names[best].startswith(f"{'bright' if value > 0 else 'dark'} {['red', 'blue'][channel]}")


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("lit", [0.0, 1.0], ids=["nothing valid", "constant"])
def test_where_nothing_differs_nothing_breaks(floor: str, lit: float) -> None:
    image = np.ones((2, 1, 16, 16), np.float32)
    valid = np.full((2, 16, 16), bool(lit))
    for guess in FLOORS[floor](image, valid):
        assert guess.shape == valid.shape
        assert np.isfinite(guess).all()
        assert not guess[~valid].any()


def test_a_blob_is_one_region_of_the_whole_case() -> None:
    image, valid, _ = picture(4, 0)
    image[0, 0, 50:56, 8:14] = 3  # a fainter one
    two = np.concatenate([image, image]), np.concatenate([valid, valid])
    found = next(FLOORS["blob"](*two)) > 0
    assert found[:, 22:28, 36:42].all()
    assert not found[:, 45:].any()


def test_the_best_guess_is_that_of_the_masks(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    for path in (store / "images").glob("*.npy"):
        image = np.load(path)
        image[:, 0] = image[:, 1]
        np.save(path, -image)  # the squares are dark in T1 as well
    data = MRISliceDataModule(str(store))
    for floor in FLOORS:
        (chosen,) = best_guesses(data, floor, 0.1)
        assert guess_names(floor, data.spec.modalities)[chosen].startswith("dark")


def test_a_class_that_is_drawn_nowhere_has_no_best_guess(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    for path in (store / "masks").glob("*.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    with pytest.raises(InputError, match="`tumour` is drawn in no case"):
        best_guesses(MRISliceDataModule(str(store)), "otsu_threshold", 0.1)
