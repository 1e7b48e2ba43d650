"""What of a volume is body: the rest of it is air, from which nothing is to be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.normalisation import fill_holes
from wsseg.data.planes import IN_PLANE

Volumes = Sequence[NDArray[Any]]

# Hounsfield units. Air has -1000, fat -100, and what scanners pad with, such as -3024, less.
DENSEST_AIR = -500.0
# Air of an MRI is darker than what lies a tenth of the way from its darkest voxels to its
# brightest, each without the outermost of them: the threshold of FSL's brain extraction (Smith,
# Human Brain Mapping, 2002).
EXTREME_PERCENTILES = (2.0, 98.0)
AIR_SHARE = 0.1
AIR_BLUR = 1.0  # pixels: the width of the Gaussian that keeps the noise of air below the threshold
# Of the largest part of a plane: both legs are parts of the body, a couch is none. Not measured.
LEAST_PART = 0.25
COUCH = 1  # pixels: half the thickness of what is no body though it touches it. Not measured.
EVERY_NTH = 3  # voxel of a plane, along each side, that percentiles are taken from


def differs_from(backgrounds: Sequence[float], volumes: Volumes) -> NDArray[np.bool_]:
    """Return where any modality is not its background, [X, Y, Z] as the volumes are laid out.

    Args:
        backgrounds: Value of the background of each modality.
        volumes: Of each modality [X, Y, Z].
    """
    result = np.zeros(volumes[0].T.shape, bool).T
    alike = all(volume.dtype == volumes[0].dtype != np.float32 for volume in volumes)
    joined = alike and not any(backgrounds)
    for plane, *images in zip(result.T, *(volume.T for volume in volumes), strict=True):
        if joined:  # the bits of whole numbers can be joined before they are compared
            images = [reduce(np.bitwise_or, images)]
        for image, background in zip(images, backgrounds, strict=not joined):
            plane |= image != background
    return result


def denser_than_air(planes: Volumes, hounsfield: bool) -> NDArray[np.bool_]:
    """Return where a body is, by a threshold between air and tissue.

    Args:
        planes: Of each modality [S, h, w].
        hounsfield: Whether they are in Hounsfield units. Otherwise the threshold follows from
            the intensities.

    Returns:
        [S, h, w]. Of each plane the largest part and those that are not much smaller, with what
        they surround, such as lungs.

    Example:
        >>> scan = np.full((1, 16, 16), -1000)
        >>> scan[:, 3:13, 3:13], scan[:, 7:9, 7:9] = 40, -800  # a trunk with a lung
        >>> scan[:, 15, :] = 100  # a couch
        >>> found = denser_than_air([scan], hounsfield=True)[0]
        >>> bool(found[4:12, 4:12].all()), bool(found[15].any())
        (True, False)
    """
    find = _denser if hounsfield else _brighter
    body: NDArray[np.bool_] = np.any([find(each) for each in planes], axis=0)
    for plane in body:
        plane[...] = _large_parts(plane)
    return fill_holes(body)


def background_of(volume: NDArray[Any]) -> float:
    """Return the value that all eight corners of a volume share, or 0 if they differ.

    Args:
        volume: [X, Y, Z].
    """
    corners = volume[:: max(volume.shape[0] - 1, 1)]
    corners = corners[:, :: max(volume.shape[1] - 1, 1), :: max(volume.shape[2] - 1, 1)]
    if not corners.size or (corners != corners.flat[0]).any():
        return 0.0
    return float(np.float32(corners.flat[0]))


def _denser(planes: NDArray[Any]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_opening

    # Air that was set to 0, as some do, has the density of water.
    dense = (planes > DENSEST_AIR) & (planes != background_of(planes))
    return np.stack([binary_opening(plane, IN_PLANE[1], COUCH) for plane in dense])


def _brighter(planes: NDArray[Any]) -> NDArray[np.bool_]:
    from scipy.ndimage import gaussian_filter

    low, high = np.percentile(planes[:, ::EVERY_NTH, ::EVERY_NTH], EXTREME_PERCENTILES)
    threshold = low + AIR_SHARE * (high - low)
    smooth = [gaussian_filter(plane.astype(np.float32), AIR_BLUR) for plane in planes]
    return np.asarray(np.stack(smooth) > threshold)


def _large_parts(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import label

    parts, count = label(plane, IN_PLANE[1])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = (sizes > 0) & (sizes >= LEAST_PART * sizes.max())
    return np.asarray(large[parts])
