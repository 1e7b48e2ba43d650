"""Which voxels hold anatomy, and intensities that compare between volumes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

CLIP = (0.1, 99.9)  # percentiles; a few bright vessels must not set the scale
SAMPLE = 1_000_000  # voxels that percentiles are taken from


def find_valid(images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the pixels that hold anatomy: any modality is not 0, holes filled slice by slice.

    Args:
        images: [S, M, H, W].

    Returns:
        [S, H, W].
    """
    from scipy.ndimage import binary_fill_holes

    valid: NDArray[np.bool_] = (images != 0).any(axis=1)
    for plane in valid:
        rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            box = plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            box[...] = binary_fill_holes(box)
    return valid


def zscore(images: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give every modality of a volume mean 0 and deviation 1 inside the anatomy.

    Values beyond the 0.1 and 99.9 percentiles are clipped first.

    Args:
        images: [S, M, H, W].
        valid: [S, H, W].

    Returns:
        [S, M, H, W], 0 outside ``valid``.
    """
    result = np.zeros_like(images)

    def normalise(channel: int) -> None:
        inside = images[:, channel][valid]
        step = -(-inside.size // SAMPLE)
        np.clip(inside, *np.percentile(inside[::step], CLIP), out=inside)
        deviation = max(float(inside.std(dtype=np.float64)), 1e-8)
        inside -= float(inside.mean(dtype=np.float64))
        inside /= deviation
        result[:, channel][valid] = inside

    if valid.any():
        with ThreadPoolExecutor(images.shape[1]) as pool:  # NumPy leaves the GIL
            list(pool.map(normalise, range(images.shape[1])))
    return result
