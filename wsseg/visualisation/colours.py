"""The colours of all pictures: on a dark background, and safe for colour-blind readers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

GROUND: Colour = (14, 17, 22)
TEXT: Colour = (230, 233, 238)
FAINT: Colour = (140, 148, 160)

PREDICTION: Colour = (255, 159, 28)
TRUTH: Colour = (72, 222, 190)
RELEVANT: Colour = (255, 84, 132)
IRRELEVANT: Colour = (66, 120, 230)
OPEN: Colour = (240, 228, 66)

CLASS_COLOURS: tuple[Colour, ...] = (
    PREDICTION,
    (86, 180, 233),
    (186, 140, 255),
    (240, 228, 66),
    (0, 178, 128),
    (240, 98, 146),
)


def class_colour(number: int) -> Colour:
    """Return the colour of a class by the number of its channel."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def heat_colours(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Colour values by "magma", a perceptually uniform colour map from black to cream.

    Args:
        values: Array of any shape; clipped to [0, 1].

    Returns:
        Array of that shape with a last axis of red, green and blue in [0, 255].
    """
    from matplotlib import colormaps

    colours = colormaps["magma"](np.nan_to_num(values))[..., :3] * 255
    return np.asarray(colours, np.float32)
