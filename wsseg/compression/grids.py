"""Compresses pictures to grids of features, and their masks to the cells of these grids."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsseg.compression.windows import Window, Windows, opened
from wsseg.data.hashes import hash_image
from wsseg.data.normalisation import Scale
from wsseg.data.readers import COLOURS, read_header
from wsseg.data.readers.header import Grid
from wsseg.data.resampling import HALF_COVERED
from wsseg.models.encoders import Encoder
from wsseg.models.pretrained import LEVEL_WIDTHS, PretrainedEncoder
from wsseg.utils.errors import check_option
from wsseg.utils.files import replacing

CELLS = (16, 32, 64)  # pixels to a side of a cell: multiples of what a feature of the level covers
LEVEL = 3  # of the encoder, of which a feature covers 16 pixels
WINDOW = 1024  # pixels to a side of what is encoded at a time, which bounds the memory
# Pixels around a window that the encoder sees, too: no feature depends on any that is farther away
# than 169 pixels, so that windows leave no seams. A multiple of all cells.
MARGIN = 192
WHITE = 255.0  # to which pictures of any depth are brought


def check_cell(cell: int) -> None:
    """Refuse a cell of another size than ``CELLS``.

    Raises:
        InputError: It is none of them.
    """
    check_option(cell in CELLS, "cell", cell, ", ".join(map(str, CELLS[:-1])) + f" or {CELLS[-1]}")


def build_encoder() -> PretrainedEncoder:
    """Make the encoder that compresses, for pixels from 0 to ``WHITE``.

    Raises:
        InputError: The extra ``pretrained`` is not installed.
    """
    return PretrainedEncoder(len(COLOURS), [Scale(0.0, WHITE, 0.0, 1.0)] * len(COLOURS))


@torch.inference_mode()
def encode(picture: Windows, cell: int, encoder: Encoder) -> NDArray[np.float16]:
    """Turn a picture into a grid.

    The result does not depend on the windows in which this is done.

    Args:
        picture: The picture.
        cell: Pixels to a side of a cell.
        encoder: From :func:`build_encoder`, on the device to use.

    Returns:
        [3 + D, h, w], for each cell its mean colour and the mean of its features. Cells that reach
        beyond the picture repeat its edge.
    """
    height, width = (-(-length // cell) for length in picture.size)
    device = next(encoder.parameters()).device
    grid = np.empty((len(COLOURS) + LEVEL_WIDTHS[LEVEL], height, width), np.float16)
    for inner, outer in _windows(picture.size):
        pixels = _padded(picture, outer, cell).to(device)
        cells = pixels.shape[-2] // cell, pixels.shape[-1] // cell
        levels = (pixels, encoder(pixels)[LEVEL])
        found = torch.cat([F.adaptive_avg_pool2d(level, cells) for level in levels], dim=1)[0]
        inside, target = (
            tuple(
                slice((i.start - first) // cell, -(-(i.stop - first) // cell))
                for i, first in zip(inner, starts, strict=True)
            )
            for starts in ((outer[0].start, outer[1].start), (0, 0))
        )
        grid[(slice(None), *target)] = found[(slice(None), *inside)].cpu().numpy()
    return grid


def write_grid(path: Path, case: str, target: Path, cell: int, encoder: Encoder) -> Path:
    """Compress a picture into a TIFF of many channels, unless that is there.

    Args:
        path: The picture.
        case: Name of the case, for messages.
        target: File to write.
        cell: Pixels to a side of a cell.
        encoder: From :func:`build_encoder`.

    Returns:
        The target.

    Raises:
        InputError: The picture cannot be used.
    """
    import tifffile

    source = hash_image(path, case)
    if target.is_file():
        grid = read_header(target, case).grid
        if grid is not None and (grid.cell, grid.source) == (cell, source):
            return target
    with opened(path, case) as picture:
        found = encode(picture, cell, encoder)
        text = Grid(cell, *picture.size, source).to_description()
    layout = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
    with replacing(target) as part:
        tifffile.imwrite(part, found, description=text, **layout)  # type: ignore[arg-type]
    return target


def write_cell_mask(path: Path, case: str, target: Path, cell: int) -> Path:
    """Reduce a mask to the cells of a grid: a cell takes the label that covers half of it.

    Args:
        path: The mask.
        case: Name of the case, for messages.
        target: PNG to write.
        cell: Pixels to a side of a cell.

    Returns:
        The target.

    Raises:
        InputError: The mask cannot be used.
    """
    from PIL import Image

    with opened(path, case, mask=True) as mask:
        height, width = (-(-length // cell) for length in mask.size)
        labels = np.zeros((height, width), np.uint16)
        for inner, _ in _windows(mask.size):
            pixels = mask.read(inner)[..., 0]
            rows, columns = (-length % cell for length in pixels.shape)
            pixels = np.pad(pixels, ((0, rows), (0, columns)), "edge")
            top, left = (each.start // cell for each in inner)
            found = majority(pixels, cell)
            labels[top : top + len(found), left : left + found.shape[1]] = found
    with replacing(target) as part:
        Image.fromarray(labels.astype(np.min_scalar_type(labels.max()))).save(part, format="PNG")
    return target


def majority(labels: NDArray[np.integer], cell: int) -> NDArray[np.uint16]:
    """Return the label that covers at least half of each cell, and 0 where none does.

    Args:
        labels: [rows, columns], multiples of the cell.
        cell: Pixels to a side of a cell.

    Example:
        >>> majority(np.uint8([[0, 0, 7, 7], [0, 7, 7, 0]]), 2).tolist()
        [[0, 7]]
    """
    rows, columns = (length // cell for length in labels.shape)
    cells = labels.reshape(rows, cell, columns, cell)
    found = np.zeros((rows, columns), np.uint16)
    for label in np.unique(labels):
        if label:
            found[(cells == label).mean(axis=(1, 3)) > HALF_COVERED] = label
    return found


def _windows(size: tuple[int, int]) -> Iterator[tuple[Window, Window]]:
    """Yield the windows of a picture, each without and with the margin around it."""
    spans = (
        [slice(n, min(n + WINDOW, length)) for n in range(0, length, WINDOW)] for length in size
    )
    for inner in product(*spans):
        rows, columns = (
            slice(max(span.start - MARGIN, 0), min(span.stop + MARGIN, length))
            for span, length in zip(inner, size, strict=True)
        )
        yield (inner[0], inner[1]), (rows, columns)


def _padded(picture: Windows, window: Window, cell: int) -> Tensor:
    """Return the pixels of a window [1, 3, H, W], in whole cells."""
    pixels = picture.read(window)
    shares = pixels.astype(np.float32) * np.float32(WHITE / np.iinfo(pixels.dtype).max)
    image = torch.from_numpy(shares).movedim(-1, 0)[None].expand(-1, len(COLOURS), -1, -1)
    rows, columns = (-length % cell for length in image.shape[-2:])
    return F.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image
