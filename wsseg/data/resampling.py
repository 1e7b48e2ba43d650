"""Resampling along one axis as a small matrix, so that a plane is two matrix products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wsseg.data.geometry import Geometry

Array = NDArray[np.float32]
Box = tuple[slice, ...]  # rows and columns

WHOLE = slice(None), slice(None)
HALF_COVERED = 0.499  # share of a pixel: one half, less what sums in float32 may lack


@lru_cache(maxsize=64)
def linear_weights(out_size: int, in_size: int, step: float) -> Array:
    """Return weights of antialiased linear interpolation.

    Pixel edges of both grids coincide at 0. When the output is coarser, the triangle is as wide as
    two output pixels, so nothing finer than they can carry is folded back.

    Args:
        out_size: Number of output pixels.
        in_size: Number of input pixels.
        step: Size of an output pixel in input pixels.

    Returns:
        [out_size, in_size], rows sum to 1.

    Example:
        >>> linear_weights(4, 2, 0.5).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = (np.arange(out_size) + 0.5) * step - 0.5
    centres = np.clip(centres, 0, in_size - 1)
    width = max(step, 1.0)
    weights = np.maximum(1 - np.abs(centres[:, None] - np.arange(in_size)) / width, 0)
    return _rows_to_one(weights)


@lru_cache(maxsize=64)
def area_weights(out_size: int, in_size: int, step: float) -> Array:
    """Return the share of each output pixel that each input pixel covers.

    Args:
        out_size: Number of output pixels.
        in_size: Number of input pixels.
        step: Size of an output pixel in input pixels.

    Returns:
        [out_size, in_size], rows sum to 1.

    Example:
        >>> area_weights(2, 4, 2.0).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    low = np.arange(out_size)[:, None] * step
    high = np.minimum(low + step, in_size)
    pixel = np.arange(in_size)
    overlap = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    weights = np.maximum(overlap, 0)
    return _rows_to_one(weights)


def apply_weights(planes: Array, rows: Array, columns: Array) -> Array:
    """Resample the last two axes with weights [h, H] and [w, W]."""
    result: Array = rows @ (planes @ columns.T)
    return result


def resample_image(image: Array, geometry: Geometry, box: Box = WHOLE) -> Array:
    """Bring planes to the pixels of slices.

    Args:
        image: [..., h, w].
        geometry: Of the slices.
        box: Which rows and columns of whole planes these are; the others are 0.

    Returns:
        [..., H, W], whole planes.
    """
    rows, columns = map(linear_weights, geometry.resampled, geometry.plane, geometry.step)
    return apply_weights(image, rows[:, box[0]], columns[:, box[1]])


def resample_mask(
    mask: NDArray[np.bool_], geometry: Geometry, box: Box = WHOLE
) -> NDArray[np.bool_]:
    """Bring masks of planes to the pixels of slices; half a pixel covered is enough.

    Args:
        mask: [..., h, w].
        geometry: Of the slices, whose pixels differ from those of the source.
        box: Which rows and columns of whole planes these are; nothing is in the others.

    Returns:
        [..., H, W], whole planes.
    """
    rows, columns = map(area_weights, geometry.resampled, geometry.plane, geometry.step)
    covered = apply_weights(mask.astype(np.float32), rows[:, box[0]], columns[:, box[1]])
    return covered > HALF_COVERED


def _rows_to_one(weights: NDArray[np.float64]) -> Array:
    scaled: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled
