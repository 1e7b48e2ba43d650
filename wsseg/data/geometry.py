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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.planes import Scalar
from wsseg.data.spec import AXES

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

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Geometry:
        """Rebuild it from what JSON makes of it."""
        lists = ("shape", "pixel", "spacing", "start", "size")
        orientation = tuple((axis, direction) for axis, direction in plain["orientation"])
        tuples: dict[str, Any] = {name: tuple(plain[name]) for name in lists}
        return cls(**{**plain, **tuples, "orientation": orientation})

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of a whole plane of the source, in its pixels."""
        canonical = [0, 0, 0]
        for length, (axis, _) in zip(self.shape, self.orientation, strict=True):
            canonical[axis] = length
        del canonical[self.axis]
        return canonical[1], canonical[0]

    @property
    def depth(self) -> int:
        """Number of planes of the source."""
        return self.shape[[axis for axis, _ in self.orientation].index(self.axis)]

    @property
    def step(self) -> tuple[float, float]:
        """Size of a slice's pixel in pixels of the source."""
        return self.spacing[0] / self.pixel[0], self.spacing[1] / self.pixel[1]

    @property
    def resamples(self) -> bool:
        """Whether the pixels of slices are others than those of the source."""
        return self.step != (1.0, 1.0)

    @property
    def resampled(self) -> tuple[int, int]:
        """Height and width of a whole plane in pixels of the slices."""
        height, width = (max(round(n / s), 1) for n, s in zip(self.plane, self.step, strict=True))
        return height, width


def whole_plane_geometry(
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    axis: str,
    spacing: float | None,
    longest_side: int | None = None,
) -> Geometry:
    """Return the geometry of slices that span whole planes.

    Args:
        shape: Voxels of the source.
        affine: Voxel to RAS+ millimetres.
        axis: Slicing axis.
        spacing: Pixel size in mm; None for the source's.
        longest_side: Pixels that the longer side of planes is to have instead, if it is given.

    Example:
        >>> geometry = whole_plane_geometry((240, 240, 155), np.diag([1, 1, 2, 1]), "axial", 1.5)
        >>> geometry.depth, geometry.thickness, geometry.size
        (155, 2.0, (160, 160))
    """
    import nibabel as nib  # here, so that help is quick

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
    if longest_side is not None:
        longest = max(n * size for n, size in zip(whole.plane, pixel, strict=True))
        whole = replace(whole, spacing=(longest / longest_side, longest / longest_side))
    return replace(whole, size=whole.resampled)


def windows(
    start: Sequence[int], size: Sequence[int], plane: Sequence[int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where slice and plane overlap, as windows of the plane and of the slice.

    Args:
        start: Row and column of the plane at which the slice begins (may be negative).
        size: Height and width of the slice.
        plane: Height and width of the plane.
    """
    found = []
    for begin, count, length in zip(start, size, plane, strict=True):
        low, high = max(begin, 0), min(begin + count, length)
        found.append((slice(low, high), slice(low - begin, high - begin)))
    (rows, slice_rows), (columns, slice_columns) = found
    return (rows, columns), (slice_rows, slice_columns)


def crop(planes: NDArray[Scalar], start: Sequence[int], size: tuple[int, int]) -> NDArray[Scalar]:
    """Cut slices out of planes, with 0 where they reach beyond.

    Args:
        planes: [..., H, W].
        start: Row and column at which slices begin (may be negative).
        size: Height and width of slices.

    Example:
        >>> crop(np.array([[1, 2], [3, 4]]), (-1, 1), (2, 2)).tolist()
        [[0, 0], [2, 0]]
    """
    if tuple(start) == (0, 0) and size == planes.shape[-2:]:
        return planes
    inside, target = windows(start, size, planes.shape[-2:])
    result = np.zeros((*planes.shape[:-2], *size), planes.dtype)
    result[(..., *target)] = planes[(..., *inside)]
    return result
