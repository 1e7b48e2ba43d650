"""Volumes in every orientation, and what SimpleITK says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)

from wsseg.data.readers import read_header, read_voxels

TURNS = [f"{a}{b}{c}" for a in "LR" for b in "AP" for c in "IS"]


def volume(
    kind: Any = np.int16, size: tuple[int, ...] = (5, 6, 7), turn: str = "LPS"
) -> sitk.Image:
    """A tilted volume of uneven voxels, far from the origin, its axes in some order."""
    array = np.random.default_rng(0).integers(0, 100, size[::-1]).astype(kind)
    image = sitk.GetImageFromArray(array)
    tilt = sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, -0.1).GetMatrix()
    order = np.eye(3)[:, ["LAI".find(c) if c in "LAI" else "RPS".find(c) for c in turn]]
    signs = np.diag([1 if c in "LPS" else -1 for c in turn])
    image.SetDirection((np.reshape(tilt, (3, 3)) @ order @ signs).ravel())
    image.SetSpacing((0.75, 1.25, 2.5))
    image.SetOrigin((-90.5, 126.25, -72.125))
    return image


def check_same(path: Path, image: sitk.Image) -> None:
    """Compare what is read with what SimpleITK says of each voxel and of its place."""
    header, array = read_voxels(path, "ann")
    told = read_header(path, "ann")
    assert (told.shape, told.channels, told.unit) == (header.shape, header.channels, "mm")
    np.testing.assert_array_equal(told.affine, header.affine)
    assert header.shape == image.GetSize()
    assert array.dtype in (np.uint8, np.int8, np.int16, np.uint16, np.float32)
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image).T)
    for corner in ((0, 0, 0), tuple(n - 1 for n in image.GetSize())):
        left, behind, up = image.TransformIndexToPhysicalPoint(corner)
        place = header.affine @ [*corner, 1]
        np.testing.assert_allclose(place[:3], (-left, -behind, up), atol=1e-3)
