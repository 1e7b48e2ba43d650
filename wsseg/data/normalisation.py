"""Fills holes in anatomy, and brings the intensities of volumes to one scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.planes import IN_PLANE

# Percentiles: a few bright vessels must not set the scale. Others were not measured.
CLIP_PERCENTILES = (0.1, 99.9)
# Voxels that percentiles are taken from: with a million, each end rests on a thousand voxels.
PERCENTILE_VOXELS = 1_000_000
# Voxels counted at a time: what stays in the processor's cache is counted twice as fast (measured).
COUNTED_TOGETHER = 32_768
# Smallest standard deviation, relative to the values: below it differences are rounding errors.
# Relative, since some are in units of SI: diffusivities are some 1e-9 m^2/s.
LEAST_DEVIATION = 1e-6

Planes = NDArray[Any]  # whole numbers of at most 16 bits, or float32


class Scale(NamedTuple):
    """How the intensities of a volume become z-scores.

    Attributes:
        low: Values below are raised to it.
        high: Values above are lowered to it.
        mean: Of the anatomy's values, clipped so.
        deviation: Of the same.
    """

    low: float
    high: float
    mean: float
    deviation: float

    def scores(self, values: Planes) -> NDArray[np.float32]:
        """Return the z-scores of values of any shape."""
        result = np.clip(values.astype(np.float32), np.float32(self.low), np.float32(self.high))
        result -= self.mean
        result /= self.deviation
        return result


def fill_holes(planes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the anatomy of a plane surrounds.

    Args:
        planes: [S, H, W], changed in place. What touches an edge of a plane is not a hole.

    Returns:
        The same planes.

    Example:
        >>> ring = np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], bool)
        >>> bool(fill_holes(ring).all())
        True
    """
    # Where no row has a gap there is no hole, and counting is quicker than looking.
    gaps = np.array([_runs(plane) > np.count_nonzero(plane.any(axis=1)) for plane in planes])
    if not gaps.any():
        return planes
    from scipy.ndimage import label

    background, count = label(~planes[gaps], IN_PLANE)
    outside = np.zeros(count + 1, bool)
    for edge in (background[:, (0, -1)], background[:, :, (0, -1)]):
        outside[edge] = True
    outside[0] = False  # the anatomy
    planes[gaps] = ~outside[background]
    return planes


def find_scale(inside: Planes, sample: int = PERCENTILE_VOXELS) -> Scale:
    """Measure the intensities of a volume.

    Args:
        inside: [N] intensities of its anatomy, in the order of its planes; floats are clipped in
            place.
        sample: About how many of them the percentiles are taken from.

    Example:
        >>> values = np.arange(1000, dtype=np.float32)
        >>> scale = find_scale(values)
        >>> round(scale.mean, 1), round(scale.high)
        (499.5, 998)
        >>> scale.scores(np.float32([499.5, 5000])).round(2)
        array([0.  , 1.73], dtype=float32)
    """
    if not inside.size:
        return Scale(0.0, 0.0, 0.0, 1.0)
    some = inside[:: -(-inside.size // sample)]
    if inside.dtype.kind == "f":
        low, high = np.percentile(some, CLIP_PERCENTILES)
        np.clip(inside, low, high, out=inside)
        mean, deviation = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
    else:  # whole numbers are counted once; the rest is done with the few that there are
        low, high = _percentiles(*_counted(some))
        values, counts = _counted(inside)
        clipped = np.clip(values, low, high).astype(np.float32).astype(np.float64)
        mean = np.average(clipped, weights=counts)
        deviation = np.sqrt(np.average((clipped - mean) ** 2, weights=counts))
    least = LEAST_DEVIATION * max(abs(float(low)), abs(float(high)))
    return Scale(float(low), float(high), float(mean), max(float(deviation), least) or 1.0)


def scorer(
    scale: Scale, source: np.dtype[Any], target: type[np.floating]
) -> Callable[[Planes], NDArray[np.floating]]:
    """Return a function that turns intensities into z-scores.

    Args:
        scale: Of the volume.
        source: Type of the intensities. Of whole numbers there are so few that each one's score
            is worked out once and then looked up, which takes a fifth of the time.
        target: Type of the scores.
    """
    if source.kind == "f":
        return lambda values: scale.scores(values).astype(target, copy=False)
    bits = np.arange(1 << 8 * source.itemsize, dtype=f"u{source.itemsize}")
    table = scale.scores(bits.view(source)).astype(target)  # a negative number counts from the end
    return table.take


def _percentiles(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the percentiles, as ``np.percentile`` does, of numbers that were counted."""
    up_to = np.cumsum(counts)
    place = (up_to[-1] - 1) * np.true_divide(CLIP_PERCENTILES, 100)
    rank = np.floor(place)
    below, above = (
        values[np.searchsorted(up_to, np.minimum(n, up_to[-1] - 1), side="right")]
        for n in (rank, rank + 1)
    )
    part = place - rank
    # From the nearer side, as there, for the same rounding.
    found: NDArray[np.float64] = np.where(
        part < 0.5, below + (above - below) * part, above - (above - below) * (1 - part)
    )
    return found


def _counted(numbers: Planes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the whole numbers up to the greatest, and how often each occurs."""
    low, high = min(int(numbers.min()), 0), int(numbers.max())
    values = np.arange(low, high + 1)
    counts = np.zeros(len(values), np.int64)
    for start in range(0, numbers.size, COUNTED_TOGETHER):
        block = numbers[start : start + COUNTED_TOGETHER]
        counts += np.bincount(block if low == 0 else block.astype(int) - low, minlength=len(values))
    return values.astype(np.float64), counts


def _runs(plane: NDArray[np.bool_]) -> int:
    """Count the stretches of anatomy in all rows of a plane."""
    return int(np.count_nonzero(plane[:, 1:] > plane[:, :-1]) + np.count_nonzero(plane[:, 0]))
