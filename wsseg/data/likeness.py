"""Whether the two sides of a body look alike, and the same places of different patients.

Both are measured on untagged slices, by their structures of middle size: finer ones are noise, and
coarser ones come from illumination, or from the depth of an ultrasound, in any organ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.levels import levels
from wsseg.data.planning import Decision
from wsseg.data.store_files import ArrayFolder
from wsseg.data.workers import Mapper

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

MOST_SLICES = 256  # that are looked at
FEWEST_SLICES = 8  # where fewer are untagged, tagged ones are looked at as well
LENGTH = 96  # pixels, to about which the longer side of slices is reduced
FINE_BLUR, BROAD_BLUR = 2.0, 10.0  # pixels: structures between these widths are compared
GAUSSIAN_REACH = 4  # times the width of a Gaussian, from where on its weights are 0
# Correlations from which on the plan says yes. Chosen between two sets of heads, brats2018-demo and
# lgg-tcga-64, and two of pictures, busi and kvasir-seg-tiles; this folder's README has a table.
SYMMETRIC_FROM = 0.2
COMPARABLE_FROM = 0.12


class Slices(NamedTuple):
    """Some slices of a data set.

    Attributes:
        image: Their structures of middle size, [n, M, h, w]; 0 where not valid.
        valid: [n, h, w] bool.
        level: Which eighth of its case each lies in, [n].
        patient: A number for each patient, [n].
    """

    image: Array
    valid: Mask
    level: NDArray[np.int64]
    patient: NDArray[np.int64]


def decide_symmetric(slices: Slices) -> Decision:
    """Decide whether the two sides of a body look alike."""
    found = likeness_of_sides(slices)
    reason = f"slices and their mirror images correlate with {found:.2f}"
    return Decision(found >= SYMMETRIC_FROM, f"{reason} ({_bound(SYMMETRIC_FROM)})")


def decide_comparable(slices: Slices) -> Decision:
    """Decide whether the same places of different patients look alike."""
    found = likeness_of_patients(slices)
    if found is None:
        return Decision(False, "there are no untagged slices of two patients at the same level")
    reason = f"slices of different patients correlate with {found:.2f}"
    return Decision(found >= COMPARABLE_FROM, f"{reason} ({_bound(COMPARABLE_FROM)})")


class Rows(NamedTuple):
    """Slices of one case that are looked at.

    Attributes:
        case: Name of the case.
        rows: Which of its slices.
        factor: Pixels along each side of the squares that are averaged.
    """

    case: str
    rows: list[int]
    factor: int


def some_slices(
    run: Mapper,
    images: ArrayFolder,
    valid: ArrayFolder,
    cases: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
) -> Slices:
    """Take evenly spaced untagged slices of all cases, or any slices if hardly one is untagged.

    Args:
        run: Reads several cases at once.
        images: Of each case, [S, M, H, W].
        valid: Of each case, [S, H, W] bool.
        cases: Entries of the manifest.
        size: Height and width of slices.
    """
    # A slice whose tag is unknown may show something, too.
    places = [
        (n, row, tags.count(0) < len(tags))
        for n, case in enumerate(cases)
        for row, tags in enumerate(case["tags"])
    ]
    untagged = [place for place in places if not place[2]]
    chosen = untagged if len(untagged) >= FEWEST_SLICES else places
    chosen = chosen[:: -(-len(chosen) // MOST_SLICES)]
    factor = max(1, round(max(size) / LENGTH))
    rows: dict[int, list[int]] = {}
    for n, row, _ in chosen:
        rows.setdefault(n, []).append(row)
    jobs = [Rows(cases[n]["id"], own, factor) for n, own in rows.items()]
    found = run("Comparing", partial(read_structures, images=images, valid=valid), jobs)
    names = sorted({case.get("patient", case["id"]) for case in cases})
    return Slices(
        np.concatenate([image for image, _ in found]),
        np.concatenate([inside for _, inside in found]),
        np.array([levels(len(cases[n]["tags"]))[row] for n, row, _ in chosen]),
        np.array([names.index(cases[n].get("patient", cases[n]["id"])) for n, _, _ in chosen]),
    )


def read_structures(chosen: Rows, images: ArrayFolder, valid: ArrayFolder) -> tuple[Array, Mask]:
    """Read some slices of a case (runs in worker processes).

    Args:
        chosen: Which slices.
        images: Of each case, [S, M, H, W].
        valid: Of each case, [S, H, W] bool.

    Returns:
        Their structures of middle size, [n, M, h, w], and where these are valid, [n, h, w].
    """
    image, known = (
        np.stack([_reduced(array[row], chosen.factor) for row in chosen.rows])
        for array in (images[chosen.case], valid[chosen.case])
    )
    inside = known > 0.5
    # Only what is valid counts of a cell; the rest is 0.
    image = np.where(inside[:, None], image / np.maximum(known, 0.5)[:, None], 0)
    return structures(image.astype(np.float32), inside), inside


def structures(image: Array, valid: Mask) -> Array:
    """Return the structures of middle size of slices [n, M, h, w]; 0 where not valid [n, h, w]."""
    found = np.empty(image.shape, np.float32)
    for into, each, inside in zip(found, image, valid, strict=True):
        fine = _blur(each, inside, FINE_BLUR)
        into[...] = np.where(inside, fine - _blur(fine, inside, BROAD_BLUR), 0)
    return found


def likeness_of_sides(slices: Slices) -> float:
    """Return how well slices correlate with their mirror images, the median over slices.

    The mean of each row is taken off before: layers, as an ultrasound shows, are the same on both
    sides of any line.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(4, 1, 20, 20)).astype(np.float32)
        >>> both, level = np.ones((4, 20, 20), bool), np.zeros(4, int)
        >>> alike = Slices(noise + noise[..., ::-1], both, level, level)
        >>> round(likeness_of_sides(alike)), round(likeness_of_sides(alike._replace(image=noise)))
        (1, 0)
    """
    found = []
    for image, valid in zip(slices.image, slices.valid, strict=True):
        width = valid.shape[1]
        middle = np.average(np.arange(width), weights=valid.sum(axis=0) + 1e-9)
        source = round(2 * middle) - np.arange(width)
        inside = (source >= 0) & (source < width)
        source = source.clip(0, width - 1)
        both = valid & valid[:, source] & inside
        count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
        flat = np.where(valid, image - image.sum(axis=2, keepdims=True) / count, 0)
        found.append(np.mean([_correlation(m[both], m[:, source][both]) for m in flat]))
    return float(np.median(found))


def likeness_of_patients(slices: Slices) -> float | None:
    """Return how well slices of the same level of different patients correlate.

    That is the share of a pixel's variance that patients have in common. The median over pairs of
    slices; None if there is no pair.
    """
    found: list[float] = []
    for level in np.unique(slices.level):
        here = slices.level == level
        other = slices.patient[here][:, None] != slices.patient[here]
        valid = slices.valid[here].reshape(int(here.sum()), -1).astype(np.float32)
        image = slices.image[here].swapaxes(0, 1).reshape(slices.image.shape[1], *valid.shape)
        pairs = np.mean([_correlations(modality, valid) for modality in image], axis=0)
        found += pairs[other].tolist()
    return float(np.median(found)) if found else None


def _correlations(rows: Array, known: Array) -> Array:
    """Return the correlation of each pair of rows [n, P], over what is known [n, P] of both."""
    count = np.maximum(known @ known.T, 1)
    total, squares = rows @ known.T, rows**2 @ known.T
    variance = np.maximum(squares / count - (total / count) ** 2, 1e-12)
    covariance = rows @ rows.T / count - total * total.T / count**2
    found: Array = covariance / np.sqrt(variance * variance.T)
    return found


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt(max((one**2).sum() * (other**2).sum(), 1e-12)))


def _blur(image: Array, known: Mask, sigma: float) -> Array:
    """Blur an image [M, h, w], of what is known of it [h, w], by a Gaussian as matrix products."""
    rows, columns = (_gaussian(length, sigma) for length in known.shape)
    weight = rows @ known.astype(np.float32) @ columns
    blurred: Array = rows @ np.where(known, image, 0) @ columns / np.maximum(weight, 1e-6)
    return blurred


@lru_cache(maxsize=8)
def _gaussian(length: int, sigma: float) -> Array:
    """Return the weights of a Gaussian of neighbouring pixels, [length, length]."""
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    reach = np.arange(-GAUSSIAN_REACH * sigma, GAUSSIAN_REACH * sigma + 1)
    weights = np.exp(-0.5 * (distance / sigma) ** 2) / np.exp(-0.5 * (reach / sigma) ** 2).sum()
    near = np.abs(distance) <= GAUSSIAN_REACH * sigma
    return np.where(near, weights, 0).astype(np.float32)


def _reduced(plane: NDArray[Any], factor: int) -> Array:
    """Average a plane [..., h, w] over squares of pixels."""
    height, width = (length // factor for length in plane.shape[-2:])
    cut = plane[..., : height * factor, : width * factor].astype(np.float32)
    cells = cut.reshape(*plane.shape[:-2], height, factor, width, factor)
    reduced: Array = cells.mean(axis=(-3, -1))
    return reduced


def _bound(value: float) -> str:
    return f"yes from {value:g} on"
