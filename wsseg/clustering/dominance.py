"""Regions of a slice that are far less relevant than its best one are left out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DOMINANCE = 0.7
"""Least relevance of the best pixel of a region, as a share of the relevance of its slice."""

TOP_PIXELS = 20
"""Pixels of a slice whose mean relevance is that of the slice: a single one may be chance."""

TOUCHING = np.ones((3, 3))  # pixels that touch at a corner belong together


def dominant(relevance: Tensor, low: float, share: float = DOMINANCE) -> Tensor:
    """Keep the regions of each map that come close to its most relevant pixels.

    A tag says that a slice shows the class somewhere, so its most relevant region most likely is
    the class. Another region as relevant may be a second lesion. One that is much less relevant
    looks like lesions of other patients, but stands beside a better candidate.

    Args:
        relevance: [B, C, h, w] in [0, 1], negative where unknown.
        low: Regions are made of the connected pixels whose relevance exceeds this.
        share: Least relevance of a region's best pixel, as a share of the relevance of the map.

    Returns:
        [B, C, h, w]; 0 in the regions that are not kept.

    Example:
        >>> relevance = torch.zeros(1, 1, 16, 16)
        >>> relevance[..., 1:7, 1:7] = 0.8
        >>> relevance[..., 10:14, 10:14] = 0.5  # less than 0.7 times as relevant
        >>> sorted(dominant(relevance, low=0.15).unique().tolist())
        [0.0, 0.800000011920929]
    """
    if relevance.numel() == 0:
        return relevance
    flat = relevance.cpu().flatten(0, 1)
    best = flat.flatten(1).topk(min(TOP_PIXELS, flat[0].numel()), dim=1).values.mean(dim=1)
    weak = [_weak_regions(each, low, share * top) for each, top in zip(flat, best, strict=True)]
    masks = torch.stack(weak).view_as(relevance).to(relevance.device)
    return relevance.masked_fill(masks, 0.0)


def _weak_regions(relevance: Tensor, low: float, least: Tensor) -> Tensor:
    """Return the pixels [h, w] of the regions none of whose pixels is at least so relevant."""
    from scipy import ndimage

    values = relevance.numpy()
    regions, count = ndimage.label(values > low, structure=TOUCHING)
    if count < 2:
        return torch.zeros(relevance.shape, dtype=torch.bool)
    peaks = np.append(np.inf, ndimage.maximum(values, regions, np.arange(1, count + 1)))
    return torch.from_numpy((peaks < float(least))[regions])
