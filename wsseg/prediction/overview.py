"""The picture beside a predicted mask: without and with the prediction.

A volume is shown by a few of its slices, and a picture by itself, as large as fits on a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.visualisation import panels
from wsseg.visualisation.colours import class_colour
from wsseg.visualisation.panels import Picture
from wsseg.visualisation.sheet import Legend, contact_sheet

SHOWN_SLICES = 6  # two rows of six panels fit on a screen
PANEL_HEIGHT = 208  # of a slice's panel, in pixels, for the same reason
LARGE_PANEL = 560  # longer side of a single picture's panels, in pixels: two fit beside each other


class Shown(NamedTuple):
    """What is drawn of a case.

    Attributes:
        image: Intensities [S, H, W], or red, green and blue [S, H, W, 3].
        valid: What pictures are cropped to, [S, H, W] bool.
        masks: Predicted masks, [S, C, H, W] bool.
        window: Intensities to draw in black and in white.
        aspect: Height of a pixel over its width.
    """

    image: NDArray[Any]
    valid: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    window: tuple[float, float]
    aspect: float = 1.0


def overview(shown: Shown, *, heading: str, classes: Sequence[str], title: str) -> Picture:
    """Draw the slices that say most about a prediction, without and with it.

    Args:
        shown: What to draw.
        heading: What the image is, such as the name of its modality.
        classes: What the legend says of each class.
        title: Title of the picture.

    Returns:
        The picture [height, width, 3] ``uint8``.
    """
    legend = Legend([(text, class_colour(number)) for number, text in enumerate(classes)])
    if len(shown.image) == 1:
        rows, columns = np.shape(shown.image)[1:3]
        high, wide = rows * shown.aspect, columns
        height = max(1, round(LARGE_PANEL * high / max(high, wide)))
        whole = slice(None), slice(None)
        pair = _pair(shown, 0, whole, height, panels.class_contours)
        return contact_sheet([pair], [heading, "prediction"], title=title, legend=legend)
    chosen = shown_slices(np.any(shown.masks, axis=1), shown.valid, SHOWN_SLICES)
    box = panels.valid_box(shown.valid[chosen], aspect=shown.aspect)
    pairs = [_pair(shown, s, box, PANEL_HEIGHT, panels.class_overlays) for s in chosen]
    return contact_sheet(
        list(zip(*pairs, strict=True)),
        [f"slice {s}" for s in chosen],
        [heading, "prediction"],
        title=title,
        legend=legend,
    )


def _pair(
    shown: Shown,
    number: int,
    box: tuple[slice, slice],
    height: int,
    draw: Callable[[Picture, NDArray[np.bool_]], Picture],
) -> tuple[Picture, Picture]:
    """Draw a slice without and with its masks."""
    image, aspect = shown.image[number][box], shown.aspect
    if image.ndim == 3:
        bare = panels.true_colour(image, height=height, aspect=aspect)
    else:
        inside = shown.valid[number][box]
        bare = panels.grey(image, inside, height=height, aspect=aspect, window=shown.window)
    return bare, draw(bare, shown.masks[number][:, box[0], box[1]])


def shown_slices(mask: NDArray[np.bool_], valid: NDArray[np.bool_], count: int) -> list[int]:
    """Choose slices that share the predicted area evenly; without any, the anatomy.

    Args:
        mask: [S, H, W] what is predicted.
        valid: [S, H, W] where there is anatomy.
        count: How many to choose; fewer if there are fewer that show anything.

    Returns:
        Slice numbers in ascending order, without repeats.

    Example:
        >>> mask = np.zeros((9, 4, 4), bool)
        >>> mask[2:8] = True
        >>> shown_slices(mask, np.ones_like(mask), 3)
        [2, 4, 6]
    """
    area = np.array([np.count_nonzero(plane) for plane in mask])
    if not area.any():
        area = np.array([np.count_nonzero(plane) for plane in valid])
    shown = np.flatnonzero(area)
    if len(shown) <= count:
        return [int(s) for s in shown] or [len(area) // 2]
    share = np.cumsum(area[shown]) / area.sum()
    places = np.searchsorted(share, (np.arange(count) + 0.5) / count)
    spread = np.maximum(places, np.arange(count))
    # Where one slice holds several shares, its neighbours stand in: strictly ascending, in range.
    for i in range(1, count):
        spread[i] = max(spread[i], spread[i - 1] + 1)
    spread = np.minimum(spread, len(shown) - count + np.arange(count))
    return [int(s) for s in shown[spread]]
