"""Regions of a slice that are far less relevant than its best one are left out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TOP = 20  # pixels whose mean relevance is the slice's: one alone may be chance
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner belong together


def dominant(relevance: Tensor, low: float, share: float) -> Tensor:
    """Keep the regions of each map that come close to its most relevant one.

    A tag says that a slice holds the class somewhere, so its most relevant region most likely is
    the class. Another region as relevant may be a second lesion; one much less relevant looks like
    lesions of other patients but stands beside a better candidate.

    Args:
        relevance: [B, C, h, w] in [0, 1], negative where unknown, on the CPU.
        low: Regions are made of the connected pixels whose relevance exceeds this.
        share: Least relevance of a region's best pixel, as a share of the map's relevance; 0
            keeps all.

    Returns:
        [B, C, h, w]; 0 in the regions that are not kept.
    """
    if share == 0 or relevance.numel() == 0:
        return relevance
    flat = relevance.flatten(0, 1)
    best = flat.flatten(1).topk(min(TOP, flat[0].numel()), dim=1).values.mean(dim=1)
    weak = [_weak_regions(each, low, share * top) for each, top in zip(flat, best, strict=True)]
    return relevance.masked_fill(torch.stack(weak).view_as(relevance), 0.0)


def _weak_regions(relevance: Tensor, low: float, least: Tensor) -> Tensor:
    """Return the pixels [h, w] of the regions none of whose pixels is at least so relevant."""
    from scipy import ndimage

    values = relevance.numpy()
    regions, count = ndimage.label(values > low, structure=TOUCHING)
    if count < 2:
        return torch.zeros(relevance.shape, dtype=torch.bool)
    inside = regions > 0
    peaks = np.full(count + 1, -np.inf, values.dtype)
    np.maximum.at(peaks, regions[inside], values[inside])
    peaks[0] = np.inf  # between the regions
    return torch.from_numpy((peaks < float(least))[regions])
