"""What of an image could tell its tag without showing the finding: size, frame, text, border.

All functions take a plane of brightness [H, W].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]

BORDER = 0.06  # share of height and width: the outermost pixels that no finding should need
SATURATED = 0.95  # of the range of a plane: text and calipers are written in its brightest value
STROKE = 7  # pixels: strokes of letters are narrower than this
CONTRAST = 0.5  # of the range: how much brighter strokes are than what surrounds them
# Pixels of a mark: fewer are noise, and shares of the plane above this are no text. Not measured.
FEWEST_PIXELS, LARGEST_SHARE = 4, 0.005
EDGE = 0.35  # of the range: how much brighter its pixels are on average than their neighbours
COLOURLESS = 0.02  # of the range: a plane is grey if half its pixels differ less between colours
COLOURFUL = 0.3  # of the range: pixels of coloured marks differ more


def marks(plane: Plane) -> int:
    """Count small, sharp and very bright parts, such as letters and calipers.

    Reflections count as well.

    Example:
        >>> plane = np.tile(np.linspace(0, 120, 80), (60, 1))
        >>> before = marks(plane)
        >>> plane[5:12, 10:12] = plane[5:12, 20:22] = 255
        >>> before, marks(plane)
        (0, 2)
    """
    from scipy.ndimage import grey_erosion, grey_opening

    values = np.asarray(plane, np.float32)
    low, high = np.percentile(values, 1), values.max()
    bright = values >= low + SATURATED * (high - low)
    if high <= low or bright.mean() > 0.5:
        return 0
    thin = values - grey_opening(values, (STROKE, STROKE)) > CONTRAST * (high - low)
    return _small_parts(bright & thin, (values - grey_erosion(values, (3, 3))) / (high - low))


def coloured_marks(colours: Plane) -> int:
    """Count small parts in colour on an image that is grey otherwise, [H, W, 3]."""
    values = np.asarray(colours, np.float32)
    difference = values.max(axis=2) - values.min(axis=2)
    full = float(values.max() - values.min())
    if full <= 0 or np.median(difference) > COLOURLESS * full:
        return 0
    return _small_parts(difference > COLOURFUL * full)


def frame(plane: Plane) -> float:
    """Return the share of a plane's height and width that a frame of one value takes.

    Example:
        >>> plane = np.random.default_rng(0).random((10, 10))
        >>> plane[:2] = 0
        >>> frame(plane), frame(plane[2:])
        (0.1, 0.0)
    """
    same = plane == plane.flat[0]
    rows, columns = same.all(axis=1), same.all(axis=0)
    spans = [min(_leading(e) + _leading(e[::-1]), len(e)) for e in (rows, columns)]
    return sum(n / len(line) for n, line in zip(spans, (rows, columns), strict=True)) / 2


def border_and_centre(plane: Plane) -> dict[str, float]:
    """Return the mean and the spread of the outermost pixels, and of the others.

    Returns:
        By the names ``border mean``, ``border spread``, ``centre mean`` and ``centre spread``.
    """
    high, wide = (max(1, round(BORDER * length)) for length in plane.shape)
    outer = np.ones(plane.shape, bool)
    outer[high:-high, wide:-wide] = False
    found = {}
    for name, inside in (("border", outer), ("centre", ~outer)):
        values = plane[inside] if inside.any() else plane
        found[f"{name} mean"], found[f"{name} spread"] = float(values.mean()), float(values.std())
    return found


def _leading(line: NDArray[np.bool_]) -> int:
    return int(line.argmin()) if not line.all() else len(line)


def _small_parts(found: NDArray[np.bool_], edges: Plane | None = None) -> int:
    from scipy.ndimage import label

    parts, count = label(found, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    most = max(LARGEST_SHARE * found.size, STROKE**2)
    good = (sizes >= FEWEST_PIXELS) & (sizes <= most)
    if edges is not None:
        steps = np.bincount(parts.ravel(), edges.ravel(), minlength=count + 1)[1:]
        good &= steps >= EDGE * sizes
    return int(good.sum())
