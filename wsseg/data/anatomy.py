"""Where the anatomy of a volume lies: only that part is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.body import background_of, denser_than_air, differs_from
from wsseg.data.geometry import Geometry, whole_plane_geometry
from wsseg.data.normalisation import fill_holes
from wsseg.data.plan import PERCENTILES, Reference
from wsseg.data.planes import box_of, box_to_planes, from_planes, to_planes
from wsseg.data.resampling import resample_mask
from wsseg.data.spec import DataSpec

REFERENCE_VALUES = 50_000  # of a modality, which percentiles are taken from
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
    volumes: Sequence[NDArray[Any]], affine: NDArray[np.float64], spec: DataSpec
) -> Anatomy:
    """Find the anatomy of a volume.

    Args:
        volumes: Of each modality [X, Y, Z].
        affine: Voxel to RAS+ millimetres.
        spec: Slicing axis and pixel size; its plan says what is anatomy.
    """
    side = spec.plan.longest_side
    whole = whole_plane_geometry(volumes[0].shape, affine, spec.axis, spec.spacing, side)
    occupied = _occupied(volumes, whole, spec)
    around = box_of(occupied)
    box = box_to_planes(around, whole.shape, whole.orientation, whole.axis)
    occupied, *planes = (
        to_planes(volume[around][None], whole.orientation, whole.axis)[:, 0]
        for volume in (occupied, *volumes)
    )
    inside = fill_holes(np.ascontiguousarray(occupied))
    if not whole.resamples:
        return Anatomy(planes, inside, box, inside, (box[1].start, box[2].start), whole)
    return Anatomy(planes, inside, box, resample_mask(inside, whole, box[1:]), (0, 0), whole)


def reference_of(anatomy: Anatomy) -> Reference:
    """Return what the images of a case look like, to be compared with those of others.

    Args:
        anatomy: Of the case.
    """
    intensities, middles = [], []
    for planes in anatomy.planes:
        inside = planes[anatomy.inside]
        some = inside[:: inside.size // REFERENCE_VALUES + 1]
        low, middle, high = found = np.percentile(some, PERCENTILES).tolist()
        intensities.append(tuple((value, value) for value in found))
        middles.append((middle - low) / (high - low) if high > low else 0.5)
    filling = float(anatomy.valid[box_of(anatomy.valid)].mean())
    longer = float(max(anatomy.size))
    return Reference(
        tuple(intensities),
        (filling, filling),
        (longer, longer),
        tuple((middle, middle) for middle in middles),
    )


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


def _occupied(
    volumes: Sequence[NDArray[Any]], whole: Geometry, spec: DataSpec
) -> NDArray[np.bool_]:
    """Return where there is anatomy, [X, Y, Z] as the volumes are laid out."""
    if spec.plan.body == "nonzero":
        shifted = spec.plan.shifts_background
        return differs_from([0 if shifted else background_of(v) for v in volumes], volumes)
    if spec.plan.body == "whole":
        return np.ones(volumes[0].T.shape, bool).T
    place = whole.orientation, whole.axis
    planes = [to_planes(volume[None], *place)[:, 0] for volume in volumes]
    body = denser_than_air(planes, hounsfield=spec.plan.normalisation == "window")
    return np.asarray(from_planes(body[:, None], *place)[0])
