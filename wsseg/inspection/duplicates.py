"""Finds images that are equal or nearly equal, such as copies that were saved anew or mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

SIDE = 24  # pixels: images are compared at this size. Not measured.
# Correlation of the differences between neighbouring pixels from which on images are nearly equal.
# The four pairs of `busi` from 0.945 to 0.968 are views of one breast each; other images of four
# real sets reach 0.947. JPEG of quality 50 keeps 0.97 and more of 19 in 20 images, and less of skin
# without any structure.
NEARLY_EQUAL = 0.95
ROWS = 1024  # images that are compared with all others at a time; bounds memory


def reduced(planes: NDArray[np.generic]) -> Array:
    """Reduce planes to a few pixels each, for :func:`nearly_equal`.

    Args:
        planes: [K, H, W].

    Returns:
        [K, SIDE, SIDE].
    """
    images = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in planes]
    small = [image.resize((SIDE, SIDE), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image) for image in small])


def nearly_equal(
    looks: Sequence[Array], *, threshold: float = NEARLY_EQUAL
) -> list[tuple[int, int]]:
    """Return the pairs of images that are nearly equal, also where one is mirrored or turned.

    Brightness and contrast may differ.

    Args:
        looks: Of each image its reduced planes; those of other numbers are not compared.
        threshold: Least correlation.

    Returns:
        Numbers of both images, ascending. Images without any structure are not compared.

    Example:
        >>> one, other = np.random.default_rng(0).random((2, 1, SIDE, SIDE), np.float32)
        >>> nearly_equal([one, other, 3 * one[..., ::-1] + 1])
        [(0, 2)]
    """
    pairs = set()
    for shape in {look.shape for look in looks}:
        numbers = np.array([n for n, look in enumerate(looks) if look.shape == shape])
        stacks = np.stack([looks[n] for n in numbers]).astype(np.float32)
        rows = _differences(stacks)
        for turned in (np.rot90(stacks, turns, (-2, -1)) for turns in range(4)):
            for other in (_differences(turned), _differences(turned[..., ::-1])):
                for start in range(0, len(rows), ROWS):
                    first, second = np.nonzero(rows[start : start + ROWS] @ other.T >= threshold)
                    found = np.sort(numbers[np.stack([first + start, second])], axis=0)
                    pairs |= {(int(a), int(b)) for a, b in found.T if a < b}
    return sorted(pairs)


def _differences(stacks: Array) -> Array:
    """Return the differences between neighbouring pixels, [N, D], of length 1."""
    # Of the differences, not of the brightness: many images are dark towards one side.
    steps = [np.diff(stacks, axis=axis).reshape(len(stacks), -1) for axis in (-2, -1)]
    rows = np.concatenate(steps, axis=1)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-6)
    return scaled
