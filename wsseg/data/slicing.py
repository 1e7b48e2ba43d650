"""From a volume to slices, and back to the volume's own voxels.

Work is done on the box around the anatomy, plane by plane: half of most volumes is empty, and what
a plane needs stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.anatomy import Anatomy, centred, enough, find_anatomy
from wsseg.data.geometry import Geometry, crop, windows
from wsseg.data.normalisation import Scale, find_scale, scorer
from wsseg.data.planes import Scalar, box_of, from_planes, to_planes
from wsseg.data.resampling import apply_weights, linear_weights, resample_image, resample_mask
from wsseg.data.spec import DataSpec

Float = type[np.float16] | type[np.float32]


class Slices(NamedTuple):
    """Slices of a volume.

    Attributes:
        image: [S, M, H, W] floating point, normalised, 0 outside ``valid``.
        valid: [S, H, W] bool.
        geometry: How to get back.
    """

    image: NDArray[Any]
    valid: NDArray[np.bool_]
    geometry: Geometry


def volume_to_slices(
    volumes: Sequence[NDArray[Any]],
    affine: NDArray[np.float64],
    spec: DataSpec,
    *,
    grow: bool = False,
) -> Slices:
    """Cut a volume into normalised slices.

    Args:
        volumes: Of each modality [X, Y, Z] raw intensities.
        affine: Voxel to RAS+ millimetres.
        spec: Slicing axis, pixel size, size of slices, and the plan for the images.
        grow: Enlarge slices, in multiples of 16, where the anatomy is larger than their size:
            prediction must not cut off a larger head than those it learnt from.

    Returns:
        All slices, cropped or padded around the middle of the anatomy.
    """
    return cut_all(find_anatomy(volumes, affine, spec), spec, grow=grow)


def cut_all(anatomy: Anatomy, spec: DataSpec, *, grow: bool = False) -> Slices:
    """Cut all slices of a volume whose anatomy is known; see :func:`volume_to_slices`."""
    size = enough(spec.size, anatomy.size) if grow else spec.size
    return cut(anatomy, centred(anatomy, size), range(anatomy.whole.depth), spec.plan.scales)


def cut(
    anatomy: Anatomy,
    geometry: Geometry,
    rows: Sequence[int],
    scales: Sequence[Scale],
    dtype: Float = np.float32,
) -> Slices:
    """Cut normalised slices.

    Args:
        anatomy: Of the volume.
        geometry: Of the slices.
        rows: Numbers of the slices, ascending.
        scales: How the intensities of each modality become z-scores; empty to measure them in this
            volume.
        dtype: Type of the normalised intensities.
    """
    start = [n - m for n, m in zip(geometry.start, anatomy.corner, strict=True)]
    source, target = windows(start, geometry.size, anatomy.valid.shape[1:])
    image = np.zeros((len(rows), len(anatomy.planes), *geometry.size), dtype)
    valid = np.zeros((len(rows), *geometry.size), bool)
    first = anatomy.box[0].start
    places = [(i, n - first) for i, n in enumerate(rows) if 0 <= n - first < len(anatomy.valid)]
    for i, s in places:
        valid[i][target] = anatomy.valid[s][source]

    share = _share(anatomy)

    def fill(number: int) -> None:
        planes = anatomy.planes[number]
        scale = scales[number] if scales else find_scale(planes[anatomy.inside])
        scores = _scores(anatomy, planes, scale, dtype, share)
        for i, s in places:
            np.copyto(image[i, number][target], scores(s)[source], where=valid[i][target])

    with ThreadPoolExecutor(len(anatomy.planes)) as pool:  # NumPy leaves the GIL
        list(pool.map(fill, range(len(anatomy.planes))))
    return Slices(image, valid, geometry)


def mask_to_slices(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """Cut masks as their volume was cut; a pixel takes what covers at least half of it.

    Args:
        mask: [C, X, Y, Z] bool.
        geometry: Of the volume's slices.

    Returns:
        [S, C, H, W] bool.
    """
    planes = to_planes(mask, geometry.orientation, geometry.axis)
    if geometry.resamples:
        rows, columns = box_of(np.any(planes, axis=(0, 1)))
        planes = resample_mask(planes[:, :, rows, columns], geometry, (rows, columns))
    return crop(planes, geometry.start, geometry.size)


def slices_to_volume(slices: NDArray[Scalar], geometry: Geometry) -> NDArray[Scalar]:
    """Put slices back on the voxels of the source; 0 where no slice reached.

    Args:
        slices: [S, C, H, W]; float32, or of any type if they have the source's own pixels.
        geometry: Of these slices.

    Returns:
        [C, X, Y, Z].
    """
    planes = np.zeros((*slices.shape[:2], *geometry.resampled), slices.dtype)
    target, source = windows(geometry.start, geometry.size, geometry.resampled)
    planes[(..., *target)] = slices[(..., *source)]
    if geometry.resamples:
        steps = (1 / step for step in geometry.step)
        planes = apply_weights(
            planes, *map(linear_weights, geometry.plane, geometry.resampled, steps)
        )
    return from_planes(planes, geometry.orientation, geometry.axis)


def _scores(
    anatomy: Anatomy,
    planes: NDArray[Any],
    scale: Scale,
    dtype: Float,
    share: NDArray[np.float32] | None,
) -> Callable[[int], NDArray[np.floating]]:
    """Return a function from the number of a plane to its z-scores, over ``anatomy.valid``."""
    if share is None:
        score = scorer(scale, planes.dtype, dtype)
        return lambda number: score(planes[number])
    scores = scorer(scale, planes.dtype, np.float32)(planes)
    scores = np.where(anatomy.inside, scores, 0)
    image = resample_image(scores, anatomy.whole, anatomy.box[1:])
    return lambda number: image[number] / share[number]


def _share(anatomy: Anatomy) -> NDArray[np.float32] | None:
    """Return how much of each pixel of resampled slices is anatomy.

    Only that counts, or the edge of the brain would be mixed with the empty outside.
    """
    if not anatomy.whole.resamples:
        return None
    inside = anatomy.inside.astype(np.float32)
    return np.maximum(resample_image(inside, anatomy.whole, anatomy.box[1:]), np.float32(1e-6))
