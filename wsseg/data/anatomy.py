"""Where the anatomy of a volume lies: only that part is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.geometry import Geometry, whole_plane_geometry
from wsseg.data.normalisation import fill_holes
from wsseg.data.planes import box_of, box_to_planes, to_planes
from wsseg.data.resampling import resample_mask

SIZE_MULTIPLE = 16  # pixels: networks halve a slice up to four times


class Anatomy(NamedTuple):
    """The planes of a volume around what is imaged in them.

    Attributes:
        planes: Of each modality [s, h, w], intensities as they were read.
        inside: [s, h, w] bool, where there is anatomy.
        box: Where they lie among all planes of the volume.
        valid: [s, h', w'] bool, where there is anatomy in pixels of slices.
        corner: Row and column of a whole plane of these pixels at which ``valid`` begins.
        whole: Geometry of slices that span whole planes.
    """

    planes: list[NDArray[Any]]
    inside: NDArray[np.bool_]
    box: tuple[slice, ...]
    valid: NDArray[np.bool_]
    corner: tuple[int, int]
    whole: Geometry

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First row (column) of a whole plane with anatomy, and the one after the last."""
        spans = box_of(self.valid)[1:]
        return [(n + s.start, n + s.stop) for n, s in zip(self.corner, spans, strict=True)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the anatomy in pixels of slices."""
        height, width = (high - low for low, high in self.bounds)
        return height, width


def find_anatomy(
    volumes: Sequence[NDArray[Any]], affine: NDArray[np.float64], axis: str, spacing: float | None
) -> Anatomy:
    """Find the anatomy of a volume.

    Args:
        volumes: Of each modality [X, Y, Z], 0 where nothing was imaged.
        affine: Voxel to RAS+ millimetres.
        axis: Slicing axis.
        spacing: Pixel size of slices in mm; None for the source's.
    """
    whole = whole_plane_geometry(volumes[0].shape, affine, axis, spacing)
    occupied = _occupied(volumes)
    around = box_of(occupied)
    box = box_to_planes(around, whole.shape, whole.orientation, whole.axis)
    occupied, *planes = (
        to_planes(volume[around][None], whole.orientation, whole.axis)[:, 0]
        for volume in (occupied, *volumes)
    )
    inside = fill_holes(np.ascontiguousarray(occupied))
    if not whole.resamples:
        return Anatomy(planes, inside, box, inside, (box[1].start, box[2].start), whole)
    spread = np.zeros((len(inside), *whole.plane), bool)
    spread[:, box[1], box[2]] = inside
    return Anatomy(planes, inside, box, resample_mask(spread, whole), (0, 0), whole)


def enough(*lengths: tuple[int, int]) -> tuple[int, int]:
    """Return the least height and width, multiples of 16, that hold all that are given."""
    height, width = (
        -(-max(each) // SIZE_MULTIPLE) * SIZE_MULTIPLE for each in zip(*lengths, strict=True)
    )
    return height, width


def centred(anatomy: Anatomy, size: tuple[int, int]) -> Geometry:
    """Return the geometry of slices of a size around the middle of the anatomy."""
    start = [
        (low + high) // 2 - n // 2 for (low, high), n in zip(anatomy.bounds, size, strict=True)
    ]
    return replace(anatomy.whole, start=(start[0], start[1]), size=size)


def _occupied(volumes: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    result = np.zeros(volumes[0].T.shape, bool).T  # laid out as volumes are read
    whole = all(volume.dtype == volumes[0].dtype != np.float32 for volume in volumes)
    for plane, *images in zip(result.T, *(volume.T for volume in volumes), strict=True):
        if whole:  # their bits can be joined before they are compared
            images = [reduce(np.bitwise_or, images)]
        for image in images:
            plane |= image != 0
    return result
