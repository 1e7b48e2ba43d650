"""From masks of single slices to the masks of a case: specks are dropped, classes stay nested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsseg.data.planes import box_of

Mask = NDArray[np.bool_]


def tidy(masks: Mask, smallest: float, inside: Sequence[Sequence[int]]) -> Mask:
    """Drop specks of every class, and what then lies outside the classes that contain it.

    Args:
        masks: [S, C, H, W], the slices of one case in order.
        smallest: See :func:`large_components`.
        inside: For each class the channels of those that contain it, from ``containers``.

    Returns:
        [S, C, H, W].
    """
    large = np.stack([large_components(mask, smallest) for mask in masks.swapaxes(0, 1)], axis=1)
    kept = [large[:, [channel, *others]].all(axis=1) for channel, others in enumerate(inside)]
    return np.stack(kept, axis=1)


def large_components(mask: Mask, smallest: float) -> Mask:
    """Return the components of a volume that are not much smaller than the largest.

    A lesion is one body or a few; what a network sees in single slices far away hardly ever is
    one. The bound is relative, so that it suits small lesions and every voxel size.

    Args:
        mask: [Z, Y, X].
        smallest: Least volume of a component, as a share of the largest one's; 0 keeps all.
            Voxels that touch at a corner belong together.

    Returns:
        [Z, Y, X].

    Example:
        >>> large_components(np.array([[[True, True, False, True]]]), smallest=0.6).tolist()
        [[[True, True, False, False]]]
    """
    from scipy import ndimage

    if smallest == 0 or not mask.any():
        return mask
    box = box_of(mask)
    labels, _ = ndimage.label(mask[box], structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    kept = np.zeros_like(mask)
    kept[box] = (sizes >= smallest * sizes.max())[labels] & mask[box]
    return kept
