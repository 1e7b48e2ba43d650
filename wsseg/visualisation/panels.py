"""Draws a slice: the image in grey or colour, with masks, maps and outlines on top of it.

The functions take planes [H, W] of any resolution, which are resized to the picture, and return a
new ``uint8`` picture [height, width, 3].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsseg.visualisation.colours import (
    GROUND,
    IRRELEVANT,
    RELEVANT,
    Colour,
    class_colour,
    heat_colours,
)

Plane = NDArray[Any]  # float or bool
Picture = NDArray[np.uint8]


def grey(
    image: Plane,
    valid: Plane | None = None,
    *,
    height: int = 224,
    aspect: float = 1.0,
    window: tuple[float, float] | None = None,
) -> Picture:
    """Draw an image plane in grey.

    Args:
        image: [H, W] intensities of one modality.
        valid: Valid pixels, [H, W] bool; by default those that are not 0.
        height: Height of the picture in pixels; the width keeps the proportions.
        aspect: Height of a pixel of the slice over its width.
        window: Intensities to draw in black and in white; by default :func:`window_of` this plane.

    Example:
        >>> picture = grey(np.eye(20), height=40)
        >>> picture.shape, heat(picture, np.eye(10)).shape  # maps may have another resolution
        ((40, 40, 3), (40, 40, 3))
    """
    inside = np.asarray(image != 0 if valid is None else valid, dtype=bool)
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    low, high = window_of(values, inside) if window is None else window
    unit = np.clip((values - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    shape = (height, max(1, round(height * image.shape[1] / (image.shape[0] * aspect))))
    level = np.clip(resized(0.06 + 0.94 * unit, shape), 0.0, 1.0)[..., None]
    cover = np.clip(resized(inside, shape), 0.0, 1.0)[..., None]
    return _to_bytes(cover * level * 245.0 + (1.0 - cover) * np.array(GROUND, np.float32))


def true_colour(image: Plane, *, height: int = 224, aspect: float = 1.0) -> Picture:
    """Draw a plane in its own colours.

    Args:
        image: Red, green and blue, [H, W, 3]: bytes, or numbers of another range, which is taken to
            end at 1, at 255 or at the largest value, whichever is the first that holds all of them.
        height: Height of the picture in pixels; the width keeps the proportions.
        aspect: Height of a pixel of the plane over its width.

    Example:
        >>> true_colour(np.full((2, 3, 3), [255, 0, 128], np.uint8), height=2)[0, 0].tolist()
        [255, 0, 128]
    """
    colours = np.nan_to_num(np.asarray(image, dtype=np.float32))
    most = float(colours.max(initial=0.0))
    whole = np.issubdtype(np.asarray(image).dtype, np.integer)
    full = 255.0 if whole and most <= 255 else 1.0 if most <= 1 else max(most, 255.0)
    shape = (height, max(1, round(height * image.shape[1] / (image.shape[0] * aspect))))
    drawn = np.stack([resized(colours[..., channel], shape) for channel in range(3)], axis=-1)
    return _to_bytes(drawn * (255.0 / full))


def window_of(image: Plane, valid: Plane) -> tuple[float, float]:
    """Return the first and the 99th percentile of the intensities of valid pixels.

    Args:
        image: Intensities of one modality, in one or several planes.
        valid: Valid pixels, bool of the same shape.
    """
    inside = np.asarray(image)[np.asarray(valid, bool)]
    low, high = np.percentile(inside, (1, 99)) if inside.size else (0.0, 1.0)
    return float(low), float(high)


def fill(picture: Picture, mask: Plane, colour: Colour, *, alpha: float = 0.35) -> Picture:
    """Tint the pixels of a mask.

    Args:
        picture: Picture to draw on.
        mask: [H, W] bool, or soft in [0, 1].
        colour: Colour of the tint.
        alpha: Opacity where the mask is 1.
    """
    cover = np.clip(resized(mask, picture.shape[:2]), 0.0, 1.0) * alpha
    return _blend(picture, np.asarray(colour, np.float32), cover)


def outline(picture: Picture, mask: Plane, colour: Colour, *, width: float = 1.8) -> Picture:
    """Draw the smooth outline of a mask.

    Args:
        picture: Picture to draw on.
        mask: [H, W] bool, or soft in [0, 1], whose outline is at 0.5.
        colour: Colour of the line.
        width: Width of the line in pixels of the picture.
    """
    soft = resized(mask, picture.shape[:2])
    slope = np.hypot(*np.gradient(soft))
    # The first-order distance to the line at 0.5 makes the line anti-aliased.
    distance = np.abs(soft - 0.5) / np.maximum(slope, 1e-3)
    return _blend(
        picture, np.asarray(colour, np.float32), np.clip((width + 1) / 2 - distance, 0, 1)
    )


def overlay(picture: Picture, mask: Plane, colour: Colour) -> Picture:
    """Tint a mask lightly and draw its outline.

    Args:
        picture: Picture to draw on.
        mask: [H, W] bool, or soft in [0, 1].
        colour: Colour of both.
    """
    return outline(fill(picture, mask, colour, alpha=0.28), mask, colour)


def class_overlays(picture: Picture, masks: Plane) -> Picture:
    """Draw the masks of all classes, each in its own colour.

    Args:
        picture: Picture to draw on.
        masks: [C, H, W].
    """
    for number, mask in enumerate(masks):
        picture = overlay(picture, mask, class_colour(number))
    return picture


def class_contours(picture: Picture, masks: Plane) -> Picture:
    """Draw the contours of all classes on a large picture, so that they show on any colour.

    A dark rim sets each line off, and the tint is too faint to hide the colours below it.

    Args:
        picture: Picture to draw on.
        masks: [C, H, W].
    """
    for number, mask in enumerate(masks):
        colour = class_colour(number)
        picture = fill(picture, mask, colour, alpha=0.12)
        picture = outline(outline(picture, mask, GROUND, width=5.0), mask, colour, width=2.6)
    return picture


def heat(picture: Picture, values: Plane) -> Picture:
    """Draw a soft map, more opaque where its values are higher.

    Args:
        picture: Picture to draw on.
        values: [H, W] in [0, 1], for example a class activation map.
    """
    level = np.clip(resized(values, picture.shape[:2]), 0.0, 1.0)
    return _blend(picture, heat_colours(level), 0.85 * np.sqrt(level))


def targets(picture: Picture, values: Plane, valid: Plane | None = None) -> Picture:
    """Draw a cluster map: relevant and irrelevant pixels are tinted, ignored ones are not.

    Args:
        picture: Picture to draw on.
        values: [H, W] in [0, 1], -1 where ignored.
        valid: Valid pixels, [H, W] bool; by default all.
    """
    known = (values >= 0) & (True if valid is None else np.asarray(valid, bool))
    relevant = np.where(known, values, 0.0)
    irrelevant = np.where(known, 1.0 - values, 0.0)
    return fill(fill(picture, irrelevant, IRRELEVANT, alpha=0.38), relevant, RELEVANT, alpha=0.75)


def resized(plane: Plane, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a plane by bicubic interpolation.

    Args:
        plane: [H, W].
        shape: Height and width of the result.
    """
    source = np.ascontiguousarray(plane, dtype=np.float32)
    if source.shape == tuple(shape):
        return source
    image = Image.fromarray(source)
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def valid_box(valid: Plane, *, margin: int = 4, aspect: float = 1.0) -> tuple[slice, slice]:
    """Return the square around the valid pixels, to crop all pictures of a slice in the same way.

    Args:
        valid: [H, W] or [S, H, W] bool; several slices share one box.
        margin: Pixels to leave on each side.
        aspect: Height of a pixel over its width.

    Returns:
        Rows and columns; not a square where the slice is too small for it, and the whole slice if
        no pixel is valid.
    """
    plane: Plane = np.any(np.reshape(valid, (-1, *valid.shape[-2:])), axis=0)
    if not plane.any():
        return slice(0, plane.shape[0]), slice(0, plane.shape[1])
    spans = [np.flatnonzero(line)[[0, -1]] for line in (plane.any(axis=1), plane.any(axis=0))]
    rows, columns = (int(last - first) + 1 for first, last in spans)
    side = max(rows * aspect, columns) + 2 * margin
    height, width = math.ceil(side / aspect), math.ceil(side)
    return _span(spans[0], height, plane.shape[0]), _span(spans[1], width, plane.shape[1])


def _span(ends: NDArray[np.integer], side: int, limit: int) -> slice:
    start = int(ends.sum() + 1 - side) // 2
    start = max(0, min(start, limit - side))
    return slice(start, min(limit, start + side))


def _blend(picture: Picture, colour: NDArray[np.float32], alpha: NDArray[np.floating]) -> Picture:
    cover = alpha[..., None]
    return _to_bytes(picture * (1.0 - cover) + colour * cover)


def _to_bytes(picture: NDArray[np.floating]) -> Picture:
    clipped: Picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return clipped
