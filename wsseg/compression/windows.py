"""Reads windows of pictures: of most TIFF files only what a window needs is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers import ENDINGS, read_header, read_voxels
from wsseg.data.readers.refusal import refusing
from wsseg.utils.errors import InputError

if TYPE_CHECKING:
    from tifffile import TiffPage

Window = tuple[slice, slice]  # rows and columns
WHITE_IS_ZERO, GREY, RGB, YCBCR = 0, 1, 2, 6  # how TIFF names what samples mean
JPEG, CONTIGUOUS = 7, 1  # TIFF's numbers of a compression, and of samples that lie side by side
DECODE = "save it without compression or with deflate, or pip install imagecodecs"


class Windows(NamedTuple):
    """A picture of which windows can be read.

    Attributes:
        size: Height and width in pixels.
        read: Returns the pixels [h, w, 1 or 3] of a window.
    """

    size: tuple[int, int]
    read: Callable[[Window], NDArray[Any]]


@contextmanager
def opened(path: Path, case: str, *, mask: bool = False) -> Iterator[Windows]:
    """Open a picture.

    Of a TIFF in tiles or strips, reading a window decodes those that it touches, one after the
    other. Any other picture is decoded as a whole, when the first window is read.

    Args:
        path: A picture, grey or in colour, of 8 or 16 bits.
        case: Name of the case, for messages.
        mask: Whether it is a mask, whose values are labels.

    Raises:
        InputError: It is missing, damaged, no picture or a volume, or is compressed already.
    """
    if ENDINGS["tiff"].search(path.name):
        with ExitStack() as stack:
            with refusing(path, case, "TIFF", DECODE):
                page = _page(path, stack, mask)
            if page is not None:
                yield _of_tiff(path, case, page)
                return
    header = read_header(path, case, mask=mask)
    if header.grid is not None or not header.is_picture:
        problem = "is compressed already" if header.grid else "is no picture"
        raise InputError(f"{path} (case {case}): {problem}; name pictures that are not compressed")

    @cache
    def whole() -> NDArray[Any]:
        pixels = read_voxels(path, case, mask=mask)[1][:, :, 0].swapaxes(0, 1)
        if pixels.dtype.kind == "f":
            raise InputError(f"{path} (case {case}): has no pixels of 8 or 16 bits; save it so")
        return pixels if pixels.ndim == 3 else pixels[..., None]

    columns, rows, _ = header.shape
    yield Windows((rows, columns), lambda window: whole()[window])


def _page(path: Path, stack: ExitStack, mask: bool) -> TiffPage | None:
    """Open a TIFF; return its only plane if windows of it can be read."""
    from tifffile import TiffFile

    file = stack.enter_context(TiffFile(path))
    page, planes = file.series[0].keyframe, len(file.series[0].pages)
    return page if planes == 1 and _in_windows(page, mask) else None


def _in_windows(page: TiffPage, mask: bool) -> bool:
    """Tell whether tiles or strips of a page can be decoded one by one, and are what they show."""
    colours = page.samplesperpixel >= 3
    meant = (RGB, YCBCR) if colours else (WHITE_IS_ZERO, GREY)
    upright = page.tags.valueof(274, 1) == 1
    plain = page.planarconfig == CONTIGUOUS and page.bitspersample in (8, 16) and upright
    shown = page.photometric in meant and (page.photometric != YCBCR or page.compression == JPEG)
    unsigned = page.dtype is not None and page.dtype.kind == "u"
    return bool(plain and shown and unsigned and not (mask and colours))


def _of_tiff(path: Path, case: str, page: TiffPage) -> Windows:
    shape = page.imagelength, page.imagewidth, page.samplesperpixel
    channels = 3 if page.samplesperpixel >= 3 else 1
    dtype = np.dtype(page.dtype)

    def read(window: Window) -> NDArray[Any]:
        with refusing(path, case, "TIFF", DECODE):
            if page.is_memmappable:  # opened anew, so that what was read does not stay in memory
                order = dtype.newbyteorder(page.parent.byteorder)
                stored = np.memmap(path, order, "r", page.dataoffsets[0], shape)
                pixels = np.array(stored[window][..., :channels], dtype)
            else:
                pixels = _decoded(page, window)[..., :channels]
        return ~pixels if page.photometric == WHITE_IS_ZERO else pixels

    return Windows(shape[:2], read)


def _decoded(page: TiffPage, window: Window) -> NDArray[Any]:
    """Decode the tiles or strips that a window touches."""
    (height, width), (_, across) = page.chunks[:2], page.chunked[:2]
    rows, columns = window
    found = np.zeros(
        (rows.stop - rows.start, columns.stop - columns.start, page.samplesperpixel), page.dtype
    )
    stream = page.parent.filehandle
    for down, right in product(
        range(rows.start // height, -(-rows.stop // height)),
        range(columns.start // width, -(-columns.stop // width)),
    ):
        number = down * across + right
        if page.databytecounts[number] == 0:  # a tile without any content
            continue
        stream.seek(page.dataoffsets[number])
        content = stream.read(page.databytecounts[number])
        if len(content) < page.databytecounts[number]:
            raise EOFError
        segment = page.decode(content, number, jpegtables=page.jpegtables)[0]
        assert segment is not None
        top, left = down * height, right * width
        _paste(found, segment[0], top - rows.start, left - columns.start)
    return found


def _paste(target: NDArray[Any], part: NDArray[Any], top: int, left: int) -> None:
    """Put a part where it belongs, as far as it lies inside."""
    bottom, right = min(top + len(part), len(target)), min(left + part.shape[1], target.shape[1])
    up, first = max(top, 0), max(left, 0)
    target[up:bottom, first:right] = part[up - top : bottom - top, first - left : right - left]
