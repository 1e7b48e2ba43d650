"""Volumes as stacks of planes in the orientation of the screen, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Orientation = Sequence[tuple[int, int]]


def to_planes(volume: NDArray[Scalar], orientation: Orientation, axis: int) -> NDArray[Scalar]:
    """Turn a volume into planes [S, N, h, w] (a view).

    Args:
        volume: [N, X, Y, Z].
        orientation: For each axis of the volume its RAS axis and its direction (1 or -1).
        axis: Slicing axis in RAS.
    """
    order = [0, *(1 + [target for target, _ in orientation].index(n) for n in range(3))]
    ras = volume.transpose(order)
    flipped = tuple(1 + target for target, direction in orientation if direction < 0)
    planes: NDArray[Scalar] = np.flip(ras, flipped).transpose(_order(axis))
    return planes[:, :, ::-1, ::-1]


def from_planes(planes: NDArray[Scalar], orientation: Orientation, axis: int) -> NDArray[Scalar]:
    """Undo :func:`to_planes`.

    Args:
        planes: [S, N, h, w].
        orientation: As given there.
        axis: As given there.

    Returns:
        [N, X, Y, Z], contiguous.
    """
    ras = planes[:, :, ::-1, ::-1].transpose(np.argsort(_order(axis)))
    flipped = tuple(1 + target for target, direction in orientation if direction < 0)
    volume = np.flip(ras, flipped).transpose([0, *(1 + target for target, _ in orientation)])
    return np.ascontiguousarray(volume)


def _order(axis: int) -> list[int]:
    across, down = (n for n in range(3) if n != axis)
    return [1 + axis, 0, 1 + down, 1 + across]
