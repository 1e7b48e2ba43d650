"""Reads TIFF files of any depth and number of channels by tifffile, and by Pillow what that cannot.

Several pages of one size are planes of a volume, the first at the bottom, unless the file says
that they are channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from wsseg.data.readers.header import COLOURS, PICTURE_AFFINE, Grid, Header
from wsseg.data.readers.pictures import (
    ORIENTATION,
    TURNED,
    as_volume,
    one_colour,
    pixels_of,
    upright,
)
from wsseg.data.readers.refusal import LARGEST_PACKING, check_memory, refusing
from wsseg.utils.errors import InputError

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

# tifffile's names of axes: rows, columns, planes (Z, or unknown: Q and I), and channels (samples of
# a pixel, S, or C). Any other would be time or worse.
AXES = ("Y", "X", "ZQI", "SC")
WHITE_IS_ZERO, RGB = 0, 2  # photometric interpretations
SHOWN = (WHITE_IS_ZERO, 1, RGB)  # those whose values are grey or RGB; others are palettes and such
ALPHA = (1, 2)  # what an extra sample of a pixel may be
DEPTHS = (1, 8, 16, 32, 64)  # bits of a sample that tifffile reads without further libraries


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the size of a TIFF and what its channels are.

    Args:
        path: A TIFF file.
        case: Name of the case, for messages.
        mask: Whether it is a mask, which has one channel whatever its colours are.

    Raises:
        InputError: It is missing, empty, truncated or no TIFF, or holds pictures of several sizes,
            or a film.
    """
    with _opened(path, case) as series:
        return _header(series, mask)


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a TIFF.

    Args:
        path: A TIFF file.
        case: Name of the case, for messages.
        mask: Whether it is a mask; see :func:`wsseg.data.readers.pictures.read_voxels`.

    Returns:
        The header and [X, Y, planes] or [X, Y, planes, channels].

    Raises:
        InputError: It is missing, empty, damaged or no TIFF, holds pictures of several sizes or a
            film, does not fit into memory, or is a mask in many colours.
    """
    with _opened(path, case) as series:
        header = _header(series, mask)
        check_memory(prod(series.shape) * max(series.dtype.itemsize, 4))
        if not _is_plain(series):
            return header, as_volume(_pixels_by_pillow(path, case, mask))
        pixels = _pixels(series)
        if mask and pixels.shape[3] > 1:
            pixels = one_colour(pixels, path, case)[..., None]
        return header, as_volume(pixels)


@contextmanager
def _opened(path: Path, case: str) -> Iterator[TiffPageSeries]:
    from tifffile import TiffFile

    what = f"{path} (case {case})"
    with refusing(path, case, "TIFF"), TiffFile(path) as file:
        if len(file.series) > 1:
            raise InputError(
                f"{what}: holds {len(file.series)} pictures of different sizes; save the one that "
                "is meant"
            )
        series = file.series[0]
        if set(series.axes) - set("".join(AXES)) or any(series.axes.count(a) != 1 for a in "YX"):
            raise InputError(
                f"{what}: has axes {series.axes} (in tifffile's letters), where a picture or a "
                "stack of planes is expected; save a part of it"
            )
        if series.dtype is None or series.dtype.kind not in "biuf":
            raise InputError(
                f"{what}: holds unusable pixels (of type {series.dtype}); save plain numbers"
            )
        length = path.stat().st_size
        if prod(series.shape) * series.dtype.itemsize > length * LARGEST_PACKING:
            raise InputError(
                f"{what}: claims more pixels than the file can hold; copy it again or remove the "
                "case"
            )
        ends = (
            offset + count
            for page in series.pages
            if page is not None
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        if max(ends, default=0) > length:
            raise EOFError
        yield series


def _header(series: TiffPageSeries, mask: bool) -> Header:
    rows, columns, planes, samples = (_length(series, axes) for axes in AXES)
    page = series.keyframe
    if _orientation(series) in TURNED:
        rows, columns = columns, rows
    channels = samples - _alpha(series) if page.photometric in SHOWN else len(COLOURS)
    grey = mask or (page.photometric in SHOWN and (channels != 3 or page.photometric != RGB))
    shape = columns, rows, planes
    grid = None if mask else Grid.from_description(page.description)
    if grid is not None and (rows, columns) == grid.size:
        return Header(shape, PICTURE_AFFINE, channels, "px", grid.names(channels), grid=grid)
    names = () if grey else COLOURS
    return Header(shape, PICTURE_AFFINE, 1 if mask else channels, "px", names)


def _pixels(series: TiffPageSeries) -> NDArray[Any]:
    """Return the pixels [rows, columns, planes, channels] as tifffile decodes them."""
    order = [n for axes in AXES for n, axis in enumerate(series.axes) if axis in axes]
    pixels: NDArray[Any] = series.asarray().transpose(order)
    pixels = pixels.reshape([_length(series, axes) for axes in AXES])
    pixels = upright(pixels[..., : pixels.shape[3] - _alpha(series)], _orientation(series))
    if series.keyframe.photometric == WHITE_IS_ZERO and pixels.dtype.kind != "f":
        return ~pixels if pixels.dtype.kind in "bu" else -pixels
    return pixels


def _pixels_by_pillow(path: Path, case: str, mask: bool) -> NDArray[Any]:
    """Return the pixels [rows, columns] or [rows, columns, 3] as Pillow decodes them."""
    from PIL import Image

    with Image.open(path, formats=["TIFF"]) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(
                f"{path} (case {case}): has several pages, compressed or coloured in a way that "
                "cannot be read; save it uncompressed, or pip install imagecodecs"
            )
        return pixels_of(image, path, case, mask)


def _is_plain(series: TiffPageSeries) -> bool:
    """Tell whether tifffile can decode the pixels and their values are what they show."""
    from tifffile import TIFF

    page = series.keyframe
    decoded = page.compression in TIFF.DECOMPRESSORS and page.bitspersample in DEPTHS
    return decoded and page.photometric in SHOWN


def _length(series: TiffPageSeries, axes: str) -> int:
    return prod(n for n, axis in zip(series.shape, series.axes, strict=True) if axis in axes)


def _alpha(series: TiffPageSeries) -> int:
    return sum(extra in ALPHA for extra in series.keyframe.extrasamples)


def _orientation(series: TiffPageSeries) -> int:
    tag = series.keyframe.tags.get(ORIENTATION)
    return 1 if tag is None else int(tag.value)
