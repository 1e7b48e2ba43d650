"""The picture beside a predicted mask: a few slices, without and with the prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsseg.visualisation import panels
from wsseg.visualisation.colours import class_colour
from wsseg.visualisation.panels import Picture
from wsseg.visualisation.sheet import Legend, contact_sheet

SHOWN_SLICES = 6  # two rows of six panels fit on a screen
PANEL_HEIGHT = 208  # of a panel, in pixels, for the same reason


def overview(
    image: NDArray[np.floating],
    valid: NDArray[np.bool_],
    masks: NDArray[np.bool_],
    *,
    modality: str,
    classes: Sequence[str],
    title: str,
    aspect: float = 1.0,
) -> Picture:
    """Draw the slices that say most about a prediction.

    Args:
        image: [S, H, W] intensities of one modality.
        valid: [S, H, W] where there is anatomy.
        masks: [S, C, H, W] predicted masks.
        modality: Name of the modality.
        classes: Names of the classes.
        title: Title of the picture.
        aspect: Height of a pixel over its width.

    Returns:
        The picture [height, width, 3] ``uint8``.
    """
    chosen = shown_slices(np.asarray(masks.any(axis=1)), valid, SHOWN_SLICES)
    box = panels.valid_box(valid[chosen], aspect=aspect)
    window = panels.window_of(image, valid)
    bare = [
        panels.grey(image[s][box], valid[s][box], height=PANEL_HEIGHT, aspect=aspect, window=window)
        for s in chosen
    ]
    drawn = [
        panels.class_overlays(picture, masks[s][:, box[0], box[1]])
        for picture, s in zip(bare, chosen, strict=True)
    ]
    legend = Legend([(name, class_colour(number)) for number, name in enumerate(classes)])
    columns = [f"slice {s}" for s in chosen]
    return contact_sheet(
        [bare, drawn], columns, [modality, "prediction"], title=title, legend=legend
    )


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
