"""Readers of images: one file for each family of formats, and one way to call them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from wsseg.data.readers.header import COLOURS, Header

__all__ = ["COLOURS", "Header", "files_of", "is_readable", "read_header", "read_voxels", "stem"]

NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
PICTURE = re.compile(r"\.(png|jpe?g|bmp|gif|webp)$", re.IGNORECASE)
TIFF = re.compile(r"\.tiff?$", re.IGNORECASE)
NAMES = (NIFTI, PICTURE, TIFF)


class Reader(Protocol):
    """What the module of each family of formats holds."""

    def read_header(self, path: Path, case: str, *, mask: bool = False) -> Header:
        """See :func:`wsseg.data.readers.read_header`."""

    def read_voxels(
        self, path: Path, case: str, *, mask: bool = False
    ) -> tuple[Header, NDArray[Any]]:
        """See :func:`wsseg.data.readers.read_voxels`."""


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read what can be known of an image without reading its voxels.

    Args:
        path: A file or folder of any format that wsseg reads.
        case: Name of the case, for messages.
        mask: Whether it is a mask, whose values are labels.

    Raises:
        InputError: It does not exist, or is not as its format demands.
    """
    return _reader(path).read_header(path, case, mask=mask)


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read an image whole.

    Args:
        path: A file or folder of any format that wsseg reads.
        case: Name of the case, for messages.
        mask: Whether it is a mask, whose values are labels.

    Returns:
        What :func:`read_header` returns, and the voxels: [X, Y, Z], or [X, Y, Z, channels] of
        several channels; whole numbers of at most 16 bits, or float32.

    Raises:
        InputError: It does not exist, is not as its format demands, or does not fit into memory.
    """
    return _reader(path).read_voxels(path, case, mask=mask)


def is_readable(path: Path) -> bool:
    """Tell whether a path looks like an image by its name.

    Example:
        >>> [is_readable(Path(name)) for name in ("ann.nii.gz", "ann.PNG", "tags.csv")]
        [True, True, False]
    """
    return any(ending.search(path.name) for ending in NAMES) and not path.is_dir()


def stem(path: Path) -> str:
    """Return the name of an image without what its format adds to it.

    Example:
        >>> [stem(Path(name)) for name in ("ann.1.nii.gz", "ann.1.PNG", "ann.1")]
        ['ann.1', 'ann.1', 'ann.1']
    """
    matches = (ending.search(path.name) for ending in NAMES)
    return next((path.name[: match.start()] for match in matches if match), path.name)


def files_of(path: Path) -> list[Path]:
    """Return the files that an image consists of, in a fixed order.

    Args:
        path: A file, or a folder that holds one image.
    """
    if not path.is_dir():
        return [path]
    return [
        file for file in sorted(path.iterdir()) if not file.name.startswith(".") and file.is_file()
    ]


def _reader(path: Path) -> Reader:
    # Here, since the reader of TIFF slices imports a layout and layouts import this module.
    from wsseg.data.readers import nifti, pictures, tiff, tiff_stack

    if path.is_dir():
        return tiff_stack
    if TIFF.search(path.name):
        return tiff
    return pictures if PICTURE.search(path.name) else nifti
