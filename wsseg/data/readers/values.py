"""Types of voxels that the rest of wsseg works with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return voxels as whole numbers of at most 16 bits, or as float32, the first axis innermost.

    Args:
        array: [X, Y, Z], or [X, Y, Z, channels], where a single channel is left out.

    Raises:
        ValueError: The voxels are not numbers.

    Example:
        >>> plain(np.ones((4, 4, 2, 1), np.uint32)).shape, plain(np.ones((4, 4, 2), bool)).dtype
        ((4, 4, 2), dtype('uint8'))
    """
    kind: np.dtype[Any] = array.dtype
    if kind.kind not in "biuf":
        raise ValueError(f"unusable voxels of type {kind}")
    if kind.kind == "b":
        kind = np.dtype(np.uint8)
    elif kind.kind == "f" or kind.itemsize > 2:
        kind = np.dtype(np.float32)
    array = array.astype(kind.newbyteorder("="), order="F", copy=False)
    return array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
