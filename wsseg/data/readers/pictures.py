"""Reads pictures: PNG, JPEG, BMP, GIF and WebP by Pillow, TIFF in ``tiff.py``.

A picture becomes a volume of one plane, upright as its EXIF orientation says. Opacity is dropped.
Palettes and other colour models become red, green and blue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers.header import COLOURS, PICTURE_AFFINE, Header, Shape3
from wsseg.data.readers.refusal import check_memory, refusing
from wsseg.data.readers.values import plain
from wsseg.utils.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
GREY = ("1", "L", "LA", "La", "I", "F")  # and those of 16 bits, I;16 and its like
ORIENTATION = 0x0112  # EXIF's and TIFF's number of the field
TURNED = (5, 6, 7, 8)  # orientations by which rows become columns
LOSSY = ("JPEG", "MPO")
HALF = 128  # of white: JPEG changes the values of a black and white mask, which this undoes


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the size of a picture and what its channels are.

    Args:
        path: A picture.
        case: Name of the case, for messages.
        mask: Whether it is a mask, which has one channel whatever its colours are.

    Raises:
        InputError: It is missing, empty or no picture, is an animation, or is larger than
            Pillow deems safe.
    """
    with _opened(path, case) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in TURNED:
            width, height = height, width
        return _header((width, height, 1), mask or _is_grey(image))


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a picture.

    Of a mask with a palette of colours, their numbers are the labels. A mask in true colours must
    show greys, or one colour on black. A mask saved as JPEG is black and white.

    Args:
        path: A picture.
        case: Name of the case, for messages.
        mask: Whether it is a mask.

    Returns:
        The header and [X, Y, 1] or [X, Y, 1, 3].

    Raises:
        InputError: It is missing, empty, damaged or no picture, is an animation, is larger than
            Pillow deems safe, or is a mask in many colours, or of labels as JPEG.
    """
    with _opened(path, case) as image:  # a PNG is not checked to its end when it is decoded
        image.verify()
    with _opened(path, case) as image:
        array = as_volume(pixels_of(image, path, case, mask))
        return _header(array.shape[:3], array.ndim == 3), array


def pixels_of(image: Image.Image, path: Path, case: str, mask: bool) -> NDArray[Any]:
    """Return the pixels of a picture, upright: [rows, columns], or [rows, columns, 3] of colours.

    Args:
        image: The picture.
        path: Its file, for the message.
        case: Name of the case, for the message.
        mask: Whether it is a mask; see :func:`read_voxels`.

    Raises:
        InputError: It is a mask in several colours, or of labels as JPEG.
    """
    width, height = image.size
    check_memory(width * height * np.dtype(np.float32).itemsize * len(image.getbands()))
    if mask:
        pixels = _labels_of(image, path, case)
    elif len(image.getbands()) > 2 and ";16" in str(getattr(image, "tile", "")):
        pixels = _deep_colours(path)
    else:
        pixels = np.asarray(_plain(image))
    return upright(pixels, image.getexif().get(ORIENTATION, 1))


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn the pixels of a picture as its EXIF orientation says.

    Args:
        array: [rows, columns, ...].
        orientation: From 1, upright already, to 8.
    """
    if orientation in TURNED:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array


def as_volume(pixels: NDArray[Any]) -> NDArray[Any]:
    """Turn pixels into voxels.

    Args:
        pixels: [rows, columns], [rows, columns, channels] or [rows, columns, planes, channels].

    Returns:
        [X, Y, planes], or [X, Y, planes, channels] if there is more than one channel.
    """
    while pixels.ndim < 4:
        pixels = np.expand_dims(pixels, 2)
    return plain(pixels.swapaxes(0, 1))


def one_colour(pixels: NDArray[Any], path: Path, case: str) -> NDArray[Any]:
    """Return the grey values of a mask that was saved in colour.

    Args:
        pixels: [..., channels] of equal values, or of one colour on black, which becomes white.
        path: Its file, for the message.
        case: Name of the case, for the message.

    Returns:
        [...].

    Raises:
        InputError: It shows several colours, which name no labels.
    """
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    shown = pixels.any(axis=-1)
    if (pixels[shown] != pixels[shown][0]).any():
        raise InputError(
            f"{path} (case {case}): is a mask in several colours, which name no labels; save it "
            "with grey values that are the labels"
        )
    return np.where(shown, np.uint8(255), np.uint8(0))


@contextmanager
def _opened(path: Path, case: str) -> Iterator[Image.Image]:
    from PIL import Image

    with refusing(path, case, "picture"):
        try:
            with Image.open(path, formats=FORMATS) as image:
                # Cameras put a preview behind the photograph, a "multi-picture object".
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    raise InputError(
                        f"{path} (case {case}): is an animation; save the picture that is meant"
                    )
                if "LA;16" in str(getattr(image, "tile", "")):  # which Pillow cuts to 8 bits
                    raise InputError(
                        f"{path} (case {case}): is grey of 16 bits with opacity, which cannot be "
                        "read; save it without opacity (alpha)"
                    )
                yield image
        except Image.DecompressionBombError as error:
            raise InputError(
                f"{path} (case {case}): is too large ({error}); make it smaller or "
                "cut it into tiles"
            ) from None


def _header(shape: Shape3, grey: bool) -> Header:
    names = () if grey else COLOURS
    return Header(shape, PICTURE_AFFINE, 1 if grey else len(COLOURS), "px", names)


def _is_grey(image: Image.Image) -> bool:
    return image.mode in GREY or image.mode.startswith("I;16")


def _plain(image: Image.Image) -> Image.Image:
    """Return a grey picture in its own depth, and any other as RGB."""
    if not _is_grey(image):
        return image.convert("RGB")
    return image if image.mode[0] in "IF" else image.convert("L")


def _deep_colours(path: Path) -> NDArray[Any]:
    """Return colours of 16 bits, which Pillow would read as 8."""
    import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)

    pixels: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels[..., : len(COLOURS)]


def _labels_of(image: Image.Image, path: Path, case: str) -> NDArray[Any]:
    if image.mode == "P":
        numbers = np.asarray(image)
        colours = np.reshape(image.getpalette("RGB") or [], (-1, 3))[np.unique(numbers)]
        grey = (colours == colours[:, :1]).all()
        return np.asarray(image.convert("L")) if grey else numbers
    if image.format in LOSSY:
        grey = np.asarray(image.convert("L"))
        if 0 < grey.max() < HALF:
            raise InputError(
                f"{path} (case {case}): is a mask without white, and JPEG changes other values; "
                "save it as PNG"
            )
        return np.where(grey < HALF, np.uint8(0), np.uint8(255))
    scale = _scale_of(image)  # before it is decoded
    plane: NDArray[Any] = np.asarray(_plain(image))
    plane = plane // np.uint8(scale) if scale > 1 else plane
    return one_colour(plane, path, case) if plane.ndim == 3 else plane


def _scale_of(image: Image.Image) -> int:
    """Return what Pillow multiplies the values of a grey PNG by, so that white becomes 255."""
    stored = {str(tile[3]) for tile in getattr(image, "tile", ())}
    return {"L;2": 85, "L;4": 17}.get("".join(stored), 1) if image.format == "PNG" else 1
