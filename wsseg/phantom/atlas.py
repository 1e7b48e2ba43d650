"""The ICBM 2009a brain that nilearn ships: tissue fractions of an average adult."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsseg.phantom.noise import Mask, Volume
from wsseg.utils.errors import InputError

FRACTION_EXPONENT = 1.7
"""Exponent on the tissue fractions: an average of many brains is blurrier than any one of them."""

VENTRICLE_DEPTH = 22.0
"""Fluid deeper than this below the brain surface (mm) is taken for ventricle, not sulcus."""

TISSUES = ("grey", "white", "fluid", "ventricle")


@dataclass(frozen=True)
class Atlas:
    """Tissue fractions on the atlas's own 1 mm grid.

    Attributes:
        brain: 1 inside the brain.
        tissues: Fractions [4, X, Y, Z] in the order of `TISSUES`; the first three sum to 1
            inside the brain, and ventricle is a part of fluid.
        origin: World position of voxel (0, 0, 0) in mm; axes are RAS+ and voxels 1 mm.
        seats: Positions [N, 3] in mm deep enough in tissue to hold a tumour.
    """

    brain: Volume
    tissues: Volume
    origin: NDArray[np.float64]
    seats: NDArray[np.float64]


def _read(kind: str) -> tuple[Volume, NDArray[np.float64]]:
    """Read one map of the wheel without importing nilearn (which takes seconds)."""
    import nibabel as nib

    package = find_spec("nilearn")
    if package is None or not package.submodule_search_locations:
        raise InputError("nilearn: not installed, and it holds the atlas; pip install nilearn")
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    path = folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        raise InputError(f"{path}: the atlas map is not there; install nilearn 0.12 or newer")
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine)


def _largest_part(mask: Mask) -> Mask:
    """Keep the largest connected component."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    return np.asarray(labels == 1 + sizes[1:].argmax(), dtype=np.bool_)


def _depth(brain: Mask, step: int = 3) -> Volume:
    """Distance to the brain surface in mm, computed on every `step`-th voxel for speed."""
    from scipy import ndimage

    coarse = ndimage.distance_transform_edt(brain[::step, ::step, ::step], sampling=step)
    fine = coarse.repeat(step, 0).repeat(step, 1).repeat(step, 2)
    return np.asarray(fine[tuple(slice(n) for n in brain.shape)], dtype=np.float32)


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the atlas once per process.

    Returns:
        The tissue fractions, sharpened to the crispness of a single brain.

    Raises:
        InputError: If nilearn or its atlas files are missing.
    """
    template, affine = _read("t1")
    brain = _largest_part(template > 0)
    fractions = _fractions(brain)
    depth = _depth(brain)
    height = (np.arange(brain.shape[2]) + affine[2, 3])[None, None, :]
    ventricle = fractions[2] * ((depth > VENTRICLE_DEPTH) & (height > -35))
    solid = (depth > 9) & (fractions[2] < 0.3) & (height > -38)
    seats = np.argwhere(solid[::3, ::3, ::3]) * 3.0 + affine[:3, 3]
    tissues = np.concatenate([fractions, ventricle[None]])
    return Atlas(brain.astype(np.float32), tissues, affine[:3, 3].copy(), seats)


def _fractions(brain: Mask) -> Volume:
    """Sharpened fractions [3, X, Y, Z] of grey matter, white matter and fluid."""
    grey, white = (_read(kind)[0][brain] / 255 for kind in ("gm", "wm"))
    inside = np.stack([grey, white, np.clip(1 - grey - white, 0, 1)]) ** FRACTION_EXPONENT
    fractions = np.zeros((3, *brain.shape), dtype=np.float32)
    fractions[:, brain] = inside / inside.sum(0)
    return fractions
