"""What the images of a data set are like, measured on some of its cases before any is prepared.

nnU-Net (Isensee et al., Nature Methods, 2021) calls this the fingerprint of a data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.body import DENSEST_AIR, background_of, denser_than_air
from wsseg.data.case_preparation import CaseJob
from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.planes import to_planes
from wsseg.data.volumes import read_case_images
from wsseg.utils.errors import InputError

PLANES = 12  # of a volume that are looked at
LONGEST_SIDE = 128  # pixels of these planes; of larger ones every second, third, ... is looked at
VALUES = 20_000  # of each modality of a case that statistics of the data set are made of
# Hounsfield units. Any CT has air, and soft tissue, which little else has beside such low values.
DENSEST_AIR_OF_CT = -900.0
SOFT_TISSUE = (-150.0, 250.0)
LEAST_SOFT_TISSUE = 0.02
LUNG = (-950.0, DENSEST_AIR)


@dataclass(frozen=True)
class Fingerprint:
    """What some planes of a case show.

    Attributes:
        picture: Whether it is a picture, one plane without a physical size.
        hounsfield: Whether all modalities seem to be in Hounsfield units.
        lung: Share of the body with the density of lungs.
        empty: Share of what a threshold takes for air that has the value of the background.
        covered: Share of all pixels that a threshold takes for body.
        values: Of each modality some intensities inside the body; of pictures, of all pixels.
        grid: Whether it is a picture compressed to a grid.
    """

    picture: bool
    hounsfield: bool
    lung: float
    empty: float
    covered: float
    values: tuple[NDArray[np.float32], ...]
    grid: bool = False


def take_fingerprint(job: CaseJob) -> Fingerprint | None:
    """Read a case and measure what it is like; None if it cannot be used, as will be said later.

    Args:
        job: The case.
    """
    try:
        images = read_case_images(job.files, job.spec.modalities, as_is=True)
    except InputError:
        return None
    whole = whole_plane_geometry(images.source.shape, images.affine, job.spec.axis, None)
    step = -(-whole.depth // PLANES)
    nth = 1 if images.source.is_picture else -(-max(whole.plane) // LONGEST_SIDE)
    planes = [
        to_planes(volume[None], whole.orientation, whole.axis)[::step, 0, ::nth, ::nth]
        for volume in images.volumes
    ]
    found = fingerprint_of(
        planes, [background_of(volume) for volume in images.volumes], images.source.is_picture
    )
    return replace(found, grid=images.source.grid is not None)


def fingerprint_of(
    planes: list[NDArray[Any]], backgrounds: list[float], picture: bool
) -> Fingerprint:
    """Measure what planes show.

    Args:
        planes: Of each modality [S, h, w].
        backgrounds: Value of the background of each.
        picture: Whether they are those of a picture.
    """
    hounsfield = not picture and all(map(_is_hounsfield, planes, backgrounds))
    body = np.ones(planes[0].shape, bool) if picture else denser_than_air(planes, hounsfield)
    empty = np.all([p == b for p, b in zip(planes, backgrounds, strict=True)], axis=0)
    inside = [each[body] for each in planes]
    return Fingerprint(
        picture,
        hounsfield,
        lung=_share((inside[0] > LUNG[0]) & (inside[0] < LUNG[1])),
        empty=_share(empty[~body]),
        covered=_share(body),
        values=tuple(each[:: -(-each.size // VALUES) or 1].astype(np.float32) for each in inside),
    )


def _is_hounsfield(planes: NDArray[Any], background: float) -> bool:
    low, high = SOFT_TISSUE
    soft = (planes > low) & (planes < high) & (planes != background)
    return bool(planes.min() <= DENSEST_AIR_OF_CT) and _share(soft) >= LEAST_SOFT_TISSUE


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if found.size else 0.0
