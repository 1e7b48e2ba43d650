"""Text, frames and borders are measured; what images show is not taken for them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from wsseg.inspection.features import border_and_centre, coloured_marks, frame, marks


def tissue(seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(200, 240)), 2)
    return np.asarray((90 + 300 * noise).clip(0, 170))


def with_text(plane: np.ndarray, text: str, colour: tuple[int, ...] | int = 255) -> np.ndarray:
    image = Image.fromarray(plane.astype(np.uint8))
    ImageDraw.Draw(image).text((20, 30), text, colour)
    return np.asarray(image)


@pytest.mark.parametrize("seed", range(5))
def test_letters_are_marks_and_tissue_is_not(seed: int) -> None:
    assert marks(tissue(seed)) == 0
    assert marks(with_text(tissue(seed), "T I L E")) >= 2


def test_bright_lesions_are_no_marks() -> None:
    plane = tissue()
    plane[80:110, 90:140] = 255
    assert marks(plane) == 0
    assert marks(np.zeros((9, 9))) == 0


def test_marks_in_colour_are_found_on_grey_images_only() -> None:
    grey = np.repeat(tissue()[..., None], 3, axis=2)
    assert coloured_marks(grey) == 0
    assert coloured_marks(with_text(grey, "TILE", (255, 255, 0))) >= 3
    skin = grey * [1.0, 0.7, 0.5]
    assert coloured_marks(with_text(skin, "TILE", (0, 255, 0))) == 0


def test_a_frame_is_measured_on_all_sides() -> None:
    plane = np.zeros((100, 50))
    plane[10:90, 5:] = tissue()[:80, :45]
    assert frame(plane) == pytest.approx((20 / 100 + 5 / 50) / 2)
    assert frame(np.zeros((4, 4))) == 1


def test_border_and_centre_are_apart() -> None:
    plane = np.ones((100, 100))
    plane[6:-6, 6:-6] = 3
    found = border_and_centre(plane)
    assert (found["border mean"], found["centre mean"]) == (1, 3)
    assert found["border spread"] == found["centre spread"] == 0
    assert border_and_centre(np.ones((1, 1)))["centre mean"] == 1
