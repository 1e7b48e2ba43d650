"""What intensity alone finds: floors that a method that is worth its training must exceed.

A floor makes several guesses about an image, one for each channel and each side, since nothing says
beforehand whether a finding is brighter or darker than the rest, nor where. A guess is an *excess*
[S, H, W], at least 0: how far each pixel exceeds what belongs to the rest. Where it is above 0, the
finding is meant to be. The best guess is chosen by masks, since tags do not tell it reliably: the
one that differs most between tagged and untagged slices is often a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import masks_of
from wsseg.data.store import CaseSlices
from wsseg.evaluation.metrics import dice
from wsseg.prediction.components import large_components
from wsseg.utils.errors import InputError
from wsseg.utils.otsu import otsu
from wsseg.utils.smoothing import blur

Images = NDArray[np.float32]
Mask = NDArray[np.bool_]
Guesses = Callable[[Images, Mask], Iterator[Images]]
"""From image [S, M, H, W] and valid [S, H, W] to the excess [S, H, W] of each guess."""

# Fixed in advance, as no tag says where a threshold should be; others were not measured.
Z_SCORE = 1.5
# Shares of the longer side of a slice, and of a blob's peak; chosen by masks of `busi` and of BraTS
# 2018 patients, in the floor's favour.
BLOB_WIDTHS = (1 / 32, 1 / 16)
BLOB_EDGE = 0.25


def beyond_z_score(image: Images, valid: Mask) -> Iterator[Images]:
    """Take what lies more than 1.5 above, or below, 0: the mean of a case or of a data set.

    Example:
        >>> image = np.float32([[[[0, 2, -3]]]])
        >>> [guess.tolist() for guess in beyond_z_score(image, image[:, 0] < 9)]
        [[[[0.0, 0.5, 0.0]]], [[[0.0, 0.0, 1.5]]]]
    """
    for channel in _both_sides(image):
        yield np.maximum(channel - np.float32(Z_SCORE), 0) * valid


def beyond_otsu(image: Images, valid: Mask) -> Iterator[Images]:
    """Take the brighter, or the darker, of the two parts into which Otsu divides a case."""
    for channel in _both_sides(image):
        yield np.maximum(channel - np.float32(otsu(channel[valid])), 0) * valid


def blobs(image: Images, valid: Mask) -> Iterator[Images]:
    """Take the one region of a case that differs most from its surroundings.

    Difference of Gaussians of two widths, as in T. Lindeberg, "Feature Detection with Automatic
    Scale Selection", International Journal of Computer Vision 30(2), 1998; of which the connected
    region around the highest peak, down to a quarter of it. The scale is not selected by the image
    but is part of the guess.
    """
    known, side = torch.from_numpy(valid)[:, None], max(valid.shape[1:])
    widths = (*BLOB_WIDTHS, 2 * BLOB_WIDTHS[-1])  # each is twice the one before
    blurred = [blur(torch.from_numpy(image), known, width * side).numpy() for width in widths]
    for narrow, wide in pairwise(blurred):
        for difference in _both_sides(narrow - wide):
            yield _around_peak(difference * valid)


def best_guesses(data: MRISliceDataModule, floor: str, smallest: float) -> list[int]:
    """Choose for each class the guess of the best mean Dice over all cases in which it is drawn.

    Held-out cases are among them, so that the scores of this choice are too good.

    Args:
        data: The data; images and masks of all its cases are read.
        floor: A key of ``FLOORS``.
        smallest: Smaller components are dropped before guesses are scored.

    Returns:
        The number of the guess for each class.

    Raises:
        InputError: A class is drawn in no case.
    """
    masks = masks_of(data.store)
    scores: list[list[list[float]]] = [[] for _ in data.spec.classes]
    masked = [case for case in data.store.cases.values() if case.id in masks]
    for case, image, valid in case_images(data, masked):
        found = [large_components(each > 0, smallest) for each in FLOORS[floor](image, valid)]
        for of_class, truth in zip(scores, np.array(masks[case.id]).swapaxes(0, 1), strict=True):
            if truth.any():
                of_class.append([dice(each, truth) for each in found])
    for name, of_class in zip(data.spec.classes, scores, strict=True):
        if not of_class:
            raise InputError(
                f"{masks.folder}: `{name}` is drawn in no case, so no guess can be chosen for it"
            )
    return [int(np.mean(of_class, axis=0).argmax()) for of_class in scores]


FLOORS: dict[str, Guesses] = {
    "zscore_threshold": beyond_z_score,
    "otsu_threshold": beyond_otsu,
    "blob": blobs,
}


def guess_names(floor: str, modalities: Sequence[str]) -> list[str]:
    """Name the guesses of a floor, in their order.

    Example:
        >>> guess_names("otsu_threshold", ["red", "blue"])
        ['bright red', 'bright blue', 'dark red', 'dark blue']
    """
    sides = [f"{side} {name}" for side in ("bright", "dark") for name in modalities]
    if FLOORS[floor] is not blobs:
        return sides
    return [f"{each} of width 1/{1 / width:.0f}" for width in BLOB_WIDTHS for each in sides]


def case_images(
    data: MRISliceDataModule, cases: Sequence[CaseSlices]
) -> Iterator[tuple[CaseSlices, Images, Mask]]:
    """Read cases one by one: image [S, M, H, W] and valid [S, H, W] of each."""
    store = data.store
    for case in cases:
        yield case, np.array(store.images[case.id], np.float32), np.array(store.valid[case.id])


def _both_sides(image: Images) -> Iterator[Images]:
    for sign in (1, -1):
        yield from (sign * channel for channel in image.swapaxes(0, 1))


def _around_peak(difference: Images) -> Images:
    """Keep the connected region around the highest pixel of a case; 0 elsewhere."""
    from scipy import ndimage

    peak = difference.max(initial=0)
    if peak <= 0:
        return np.zeros_like(difference)
    regions, _ = ndimage.label(difference > BLOB_EDGE * peak, structure=np.ones((3, 3, 3)))
    highest = regions[np.unravel_index(difference.argmax(), regions.shape)]
    return np.where(regions == highest, difference, np.float32(0))
