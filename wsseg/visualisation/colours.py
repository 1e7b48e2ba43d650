"""The colours of every picture wsseg draws: dark ground, safe for the colour-blind."""

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

CLASS_COLOURS: tuple[Colour, ...] = (
    PREDICTION,
    (86, 180, 233),
    (240, 98, 146),
    (240, 228, 66),
    (0, 178, 128),
    (186, 140, 255),
)

# Seventeen steps of "magma", a perceptually uniform map (matplotlib, public domain, CC0); linear
# interpolation between them stays within 1 % of the original and needs no import of matplotlib.
_MAGMA = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 "
    "d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf"
)
_ANCHORS = np.array([list(bytes.fromhex(code)) for code in _MAGMA.split()], dtype=np.float32)


def class_colour(number: int) -> Colour:
    """Return the colour of a class by its channel number."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def heat_colours(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Colour values by a perceptually uniform map from black over magenta to cream.

    Args:
        values: Array of any shape; clipped to [0, 1].

    Returns:
        Array of that shape with a last axis of red, green and blue in [0, 255].
    """
    place = np.clip(np.nan_to_num(values), 0.0, 1.0) * (len(_ANCHORS) - 1)
    steps = np.arange(len(_ANCHORS))
    channels = [np.interp(place, steps, _ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)
