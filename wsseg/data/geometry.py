"""From a volume to slices of one size, and back to the volume's own voxels.

Every volume is first turned to RAS+ orientation (axes to right, anterior, superior). Slices are
stacked along the slicing axis in that order. In a slice, rows and columns run *against* the two
remaining axes, so that pictures look as radiologists expect:

========  =============  ======================  ======================
axis      slices         rows (top to bottom)    columns (left to right)
========  =============  ======================  ======================
axial     to superior    anterior to posterior   right to left of patient
coronal   to anterior    superior to inferior    right to left of patient
sagittal  to right       superior to inferior    anterior to posterior
========  =============  ======================  ======================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.normalisation import find_valid, zscore
from wsseg.data.planes import from_planes, to_planes
from wsseg.data.resampling import apply_weights, area_weights, linear_weights
from wsseg.data.spec import DataSpec

AXES = ("sagittal", "coronal", "axial")
Scalar = TypeVar("Scalar", bound=np.generic)
Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """How slices lie in the volume that they were cut from.

    Attributes:
        orientation: nibabel's code of the source's axes, a pair (RAS axis, direction) for each.
        shape: Voxels of the source along its own axes.
        axis: Number of the slicing axis in RAS.
        pixel: Height and width in mm of a pixel of the source.
        spacing: Height and width in mm of the pixels of slices.
        thickness: Distance of neighbouring slices in mm.
        start: Row and column of the resampled plane at which slices begin (may be negative).
        size: Height and width of slices.
    """

    orientation: tuple[tuple[int, int], ...]
    shape: Shape3
    axis: int
    pixel: tuple[float, float]
    spacing: tuple[float, float]
    thickness: float
    start: tuple[int, int]
    size: tuple[int, int]

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of a whole plane of the source, in its pixels."""
        canonical = [0, 0, 0]
        for length, (axis, _) in zip(self.shape, self.orientation, strict=True):
            canonical[axis] = length
        del canonical[self.axis]
        return canonical[1], canonical[0]

    @property
    def step(self) -> tuple[float, float]:
        """Size of a slice's pixel in pixels of the source."""
        return self.spacing[0] / self.pixel[0], self.spacing[1] / self.pixel[1]

    @property
    def resampled(self) -> tuple[int, int]:
        """Height and width of a whole plane in pixels of the slices."""
        height, width = (max(round(n / s), 1) for n, s in zip(self.plane, self.step, strict=True))
        return height, width


class Slices(NamedTuple):
    """All slices of a volume.

    Attributes:
        image: [S, M, H, W] float32, normalised, 0 outside ``valid``.
        valid: [S, H, W] bool.
        geometry: How to get back.
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    geometry: Geometry


def volume_to_slices(
    images: NDArray[np.float32],
    affine: NDArray[np.float64],
    spec: DataSpec,
    *,
    grow: bool = False,
) -> Slices:
    """Cut a volume into normalised slices.

    Args:
        images: [M, X, Y, Z] raw intensities, 0 where nothing was imaged.
        affine: Voxel to RAS+ millimetres.
        spec: Slicing axis, pixel size, size of slices and normalisation.
        grow: Enlarge slices, in multiples of 16, where the anatomy is larger than their size:
            prediction must not cut off a larger head than those it learnt from.

    Returns:
        All slices, cropped or padded around the middle of the anatomy.
    """
    if spec.normalisation != "zscore":
        raise ValueError(f"unknown normalisation {spec.normalisation!r}")
    whole = whole_plane_geometry(images.shape[1:], affine, spec.axis, spec.spacing)
    planes = np.ascontiguousarray(to_planes(images, whole.orientation, whole.axis))
    valid = find_valid(planes)
    image, valid = _resample(zscore(planes, valid), valid, whole)
    size = _enough(spec.size, valid) if grow else spec.size
    geometry = _centred(whole, valid, size)
    return Slices(_crop(image, geometry), _crop(valid, geometry), geometry)


def anatomy_size(
    images: NDArray[np.float32],
    affine: NDArray[np.float64],
    axis: str,
    spacing: float | None,
) -> tuple[int, int]:
    """Return height and width in slice pixels of the box that holds a volume's anatomy.

    Args:
        images: [M, X, Y, Z].
        affine: Voxel to RAS+ millimetres.
        axis: Slicing axis.
        spacing: Pixel size in mm; None for the source's.
    """
    whole = whole_plane_geometry(images.shape[1:], affine, axis, spacing)
    valid = (to_planes(images, whole.orientation, whole.axis) != 0).any(axis=(0, 1))
    box = _bounds(_resample_mask(valid, whole))
    return box[0][1] - box[0][0], box[1][1] - box[1][0]


def mask_to_slices(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """Cut masks as their volume was cut; a pixel takes what covers at least half of it.

    Args:
        mask: [C, X, Y, Z] bool.
        geometry: Of the volume's slices.

    Returns:
        [S, C, H, W] bool.
    """
    planes = to_planes(mask, geometry.orientation, geometry.axis)
    return _crop(_resample_mask(planes, geometry), geometry)


def slices_to_volume(probability: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Put slices back on the voxels of the source; 0 where no slice reached.

    Args:
        probability: [S, C, H, W].
        geometry: Of these slices.

    Returns:
        [C, X, Y, Z].
    """
    planes = np.zeros((*probability.shape[:2], *geometry.resampled), np.float32)
    target, source = _windows(geometry, geometry.resampled)
    planes[(..., *target)] = probability[(..., *source)]
    if geometry.resampled != geometry.plane or geometry.step != (1.0, 1.0):
        weights = [
            linear_weights(n, m, 1 / s)
            for n, m, s in zip(geometry.plane, geometry.resampled, geometry.step, strict=True)
        ]
        planes = apply_weights(planes, weights[0], weights[1])
    return from_planes(planes, geometry.orientation, geometry.axis)


def whole_plane_geometry(
    shape: tuple[int, ...], affine: NDArray[np.float64], axis: str, spacing: float | None
) -> Geometry:
    """Return the geometry of slices that span whole planes.

    Args:
        shape: Voxels of the source.
        affine: Voxel to RAS+ millimetres.
        axis: Slicing axis.
        spacing: Pixel size in mm; None for the source's.
    """
    codes = nib.orientations.io_orientation(affine)
    orientation = tuple((int(target), int(direction)) for target, direction in codes)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    canonical = [0.0, 0.0, 0.0]
    for length, (target, _) in zip(lengths, orientation, strict=True):
        canonical[target] = float(length)
    number = AXES.index(axis)
    thickness = canonical.pop(number)
    pixel = (canonical[1], canonical[0])
    x, y, z = shape
    whole = Geometry(
        orientation=orientation,
        shape=(x, y, z),
        axis=number,
        pixel=pixel,
        spacing=pixel if spacing is None else (spacing, spacing),
        thickness=thickness,
        start=(0, 0),
        size=(1, 1),
    )
    return replace(whole, size=whole.resampled)


def _resample(
    image: NDArray[np.float32], valid: NDArray[np.bool_], geometry: Geometry
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if geometry.step == (1.0, 1.0):
        return image, valid
    weights = [
        linear_weights(n, m, s)
        for n, m, s in zip(geometry.resampled, geometry.plane, geometry.step, strict=True)
    ]
    coarse = _resample_mask(valid, geometry)
    # Only anatomy counts, or the edge of the brain would be mixed with the empty outside.
    share = apply_weights(valid.astype(np.float32), weights[0], weights[1])[:, None]
    mean = apply_weights(image, weights[0], weights[1]) / np.maximum(share, 1e-6)
    return np.where(coarse[:, None], mean, np.float32(0)), coarse


def _resample_mask(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    if geometry.step == (1.0, 1.0):
        return mask
    weights = [
        area_weights(n, m, s)
        for n, m, s in zip(geometry.resampled, geometry.plane, geometry.step, strict=True)
    ]
    return apply_weights(mask.astype(np.float32), weights[0], weights[1]) > 0.499


def _centred(whole: Geometry, valid: NDArray[np.bool_], size: tuple[int, int]) -> Geometry:
    box = _bounds(valid)
    start = [(low + high) // 2 - n // 2 for (low, high), n in zip(box, size, strict=True)]
    return replace(whole, start=(start[0], start[1]), size=size)


def _enough(size: tuple[int, int], valid: NDArray[np.bool_]) -> tuple[int, int]:
    height, width = (
        max(n, -(-(high - low) // 16) * 16)
        for n, (low, high) in zip(size, _bounds(valid), strict=True)
    )
    return height, width


def _bounds(valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first row (column) with anatomy and the one after the last."""
    box = []
    for axis in (-1, -2):
        line = valid.any(axis=axis)
        found = np.flatnonzero(line.reshape(-1, line.shape[-1]).any(axis=0))
        box.append((int(found[0]), int(found[-1]) + 1) if len(found) else (0, line.shape[-1]))
    return box


def _windows(
    geometry: Geometry, plane: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where slice and plane overlap, as windows of the plane and of the slice."""
    windows = []
    for start, size, length in zip(geometry.start, geometry.size, plane, strict=True):
        low, high = max(start, 0), min(start + size, length)
        windows.append((slice(low, high), slice(low - start, high - start)))
    (rows, slice_rows), (columns, slice_columns) = windows
    return (rows, columns), (slice_rows, slice_columns)


def _crop(planes: NDArray[Scalar], geometry: Geometry) -> NDArray[Scalar]:
    if geometry.start == (0, 0) and geometry.size == geometry.resampled:
        return planes
    inside, target = _windows(geometry, geometry.resampled)
    result = np.zeros((*planes.shape[:-2], *geometry.size), planes.dtype)
    result[(..., *target)] = planes[(..., *inside)]
    return result
