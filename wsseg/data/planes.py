"""Volumes as stacks of planes in the orientation of the screen, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Orientation = Sequence[tuple[int, int]]

# Neighbours of a pixel: the four that share a side with it in its plane.
IN_PLANE = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))], bool)


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
        [N, X, Y, Z], a view.
    """
    ras = planes[:, :, ::-1, ::-1].transpose(np.argsort(_order(axis)))
    flipped = tuple(1 + target for target, direction in orientation if direction < 0)
    return np.flip(ras, flipped).transpose([0, *(1 + target for target, _ in orientation)])


def box_to_planes(
    box: Sequence[slice], shape: Sequence[int], orientation: Orientation, axis: int
) -> tuple[slice, ...]:
    """Return where a box of a volume lies in its planes: which slices, rows and columns.

    Args:
        box: A slice along each axis of the volume.
        shape: Of the volume.
        orientation: As given to :func:`to_planes`.
        axis: As given there.
    """
    ras = [slice(0)] * 3
    for span, length, (target, direction) in zip(box, shape, orientation, strict=True):
        backwards = (direction < 0) != (target != axis)  # rows and columns run against their axes
        ras[target] = slice(length - span.stop, length - span.start) if backwards else span
    number, _, down, across = (n - 1 for n in _order(axis))
    return ras[number], ras[down], ras[across]


def box_of(occupied: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the least box that holds all that is true, or everything if nothing is.

    Args:
        occupied: Of two axes or three.
    """
    # Quickest along the memory. What has one slice is laid out both ways, and so is its transpose.
    if occupied.flags.f_contiguous and not occupied.flags.c_contiguous:
        return box_of(occupied.T)[::-1]
    last = occupied.ndim - 1
    across, down = (np.any(occupied, axis=axis) for axis in (last, last - 1))
    columns = _span(np.any(down.reshape(-1, down.shape[-1]), axis=0))
    return (*box_of(across), columns) if across.ndim > 1 else (_span(across), columns)


def _span(line: NDArray[np.bool_]) -> slice:
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, len(line))


def _order(axis: int) -> list[int]:
    across, down = (n for n in range(3) if n != axis)
    return [1 + axis, 0, 1 + down, 1 + across]
