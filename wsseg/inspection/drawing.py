"""Small pictures of the slices of a case, for contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.geometry import Geometry
from wsseg.data.readers import COLOURS
from wsseg.visualisation import panels
from wsseg.visualisation.colours import class_colour
from wsseg.visualisation.panels import Picture

PICTURE_SIDE = 148  # longer side of pictures, in pixels


class Drawn(NamedTuple):
    """The picture of a slice.

    Attributes:
        number: Of the slice in its volume.
        tags: Of each class 0 or 1, or NaN where unknown.
        picture: Upright, [h, w, 3] ``uint8``.
    """

    number: int
    tags: tuple[float, ...]
    picture: Picture


def chosen_slices(tags: NDArray[np.floating], numbers: NDArray[np.integer]) -> list[int]:
    """Choose slices to draw: for each class the middle one of those with it, and one without.

    Args:
        tags: [S, C], 0, 1, or NaN where unknown.
        numbers: Of the slices that hold anything, ascending.

    Example:
        >>> chosen_slices(np.array([[0], [1], [1], [1], [0]], bool), np.arange(5))
        [2, 4]
    """
    middle = numbers[len(numbers) // 2]
    chosen = set()
    for column in tags.T:
        tagged, untagged = numbers[column[numbers] > 0.5], numbers[column[numbers] <= 0.5]
        if len(tagged):
            chosen.add(int(tagged[len(tagged) // 2]))
        if len(untagged):
            distance = np.abs(untagged - middle)
            chosen.add(int(untagged[::-1][distance[::-1].argmin()]))
    return sorted(chosen)


def colours_of(modalities: Sequence[str]) -> list[int]:
    """Return the channels to look at: red, green and blue if these are there, else the first.

    Example:
        >>> colours_of(["blue", "green", "red"]), colours_of(["FLAIR", "T1"])
        ([2, 1, 0], [0])
    """
    coloured = set(COLOURS) <= set(modalities)
    return [modalities.index(name) for name in COLOURS] if coloured else [0]


def draw(
    plane: NDArray[Any],
    valid: NDArray[np.bool_],
    masks: NDArray[np.bool_] | None,
    whole: Geometry,
    window: tuple[float, float] | None = None,
) -> Picture:
    """Draw a slice upright and small, with thin outlines of what is marked.

    Args:
        plane: [H, W, 1 or 3]; three are red, green and blue.
        valid: [H, W], what it is cropped to and scaled by.
        masks: [C, H, W], if there are any.
        whole: How slices lie.
        window: Intensities to draw in black and in white; by default those of the slice.
    """
    aspect = whole.pixel[0] / whole.pixel[1]
    box = panels.valid_box(valid, aspect=aspect)
    plane, valid = plane[box], valid[box]
    high, wide = plane.shape[0] * aspect, plane.shape[1]
    height = max(1, round(PICTURE_SIDE * high / max(high, wide)))
    if plane.shape[2] == len(COLOURS):
        picture = panels.true_colour(plane, height=height, aspect=aspect)
    else:
        picture = panels.grey(plane[..., 0], valid, height=height, aspect=aspect, window=window)
    for number, mask in enumerate([] if masks is None else masks):
        picture = panels.outline(picture, mask[box], class_colour(number), width=1.2)
    return picture
