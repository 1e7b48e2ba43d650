"""Masks of compressed pictures on the pictures' own pixels, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsseg.data.labels import label_map
from wsseg.data.readers.header import Grid
from wsseg.utils.files import replacing

TILE = 1024  # pixels to a side of the tiles of masks


def save_enlarged(
    probability: Tensor,
    threshold: float,
    classes: Mapping[str, Sequence[int]],
    grid: Grid,
    path: Path,
) -> Path:
    """Write the mask of a compressed picture as a TIFF in tiles, whole or not at all.

    Probabilities are interpolated between the centres of cells, so that borders are smooth.

    Args:
        probability: [C, h, w] of each cell.
        threshold: Probability above which a pixel belongs to a class.
        classes: The mask labels of each class.
        grid: How the cells lie on the picture.
        path: File to write, ending in ``.tif``.

    Returns:
        The path.
    """
    import tifffile

    tiles = _tiles(probability, threshold, classes, grid)
    first = next(tiles)

    with replacing(path) as part:
        tifffile.imwrite(
            part,
            chain([first], tiles),
            shape=(grid.rows, grid.columns),
            dtype=first.dtype,
            tile=(TILE, TILE),
            photometric="minisblack",
            compression="zlib",
            metadata=None,
        )
    return path


def _tiles(
    probability: Tensor, threshold: float, classes: Mapping[str, Sequence[int]], grid: Grid
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Yield the labels of each tile, row by row; those at the edge reach beyond the picture."""
    step, cell = TILE // grid.cell, grid.cell
    height, width = (-(-length // step) * step for length in grid.size)
    edges = (1, 1 + width - grid.size[1], 1, 1 + height - grid.size[0])
    around = F.pad(probability[None].float(), edges, mode="replicate")
    for top in range(0, height, step):
        for left in range(0, width, step):
            part = around[..., top : top + step + 2, left : left + step + 2]
            fine = F.interpolate(part, scale_factor=cell, mode="bilinear", align_corners=False)
            masks = (fine[0, :, cell:-cell, cell:-cell] > threshold).numpy()
            yield np.ascontiguousarray(label_map(masks[..., None], classes)[..., 0])
