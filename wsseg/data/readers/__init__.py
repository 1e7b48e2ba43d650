"""Readers of images: one file for each family of formats, and one way to call them."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from wsseg.data.readers.header import COLOURS, Header

__all__ = [
    "COLOURS",
    "Header",
    "files_of",
    "images_below",
    "images_in",
    "is_readable",
    "read_header",
    "read_voxels",
    "stem",
]

# What names of files end in, by the module that reads them.
ENDINGS = {
    "nifti": re.compile(r"\.(nii|hdr|img)(\.gz)?$", re.IGNORECASE),
    "mgh": re.compile(r"\.(mgz|mgh)$", re.IGNORECASE),
    "itk": re.compile(r"\.(nrrd|nhdr|mha|mhd)$", re.IGNORECASE),
    "dicom": re.compile(r"\.(dcm|dicom|ima)$", re.IGNORECASE),
    "pictures": re.compile(r"\.(png|jpe?g|bmp|gif|webp)$", re.IGNORECASE),
    "tiff": re.compile(r"\.tiff?$", re.IGNORECASE),
}

PAIRED = re.compile(r"\.img(\.gz)?$", re.IGNORECASE)  # the half that needs no mention


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
    """Tell whether a path names an image: a file by its name, or one or a series of DICOM.

    Example:
        >>> [is_readable(Path(name)) for name in ("ann.nii.gz", "ann.PNG", "tags.csv")]
        [True, True, False]
    """
    from wsseg.data.readers.dicom import is_dicom, names_series

    if path.is_dir() or PAIRED.search(path.name):
        return False
    if any(ending.search(path.name) for ending in ENDINGS.values()):
        return True
    return is_dicom(path) if path.is_file() else names_series(path)


def images_in(folder: Path) -> list[Path]:
    """Return the images that lie in a folder, but not in folders below it.

    Args:
        folder: The folder. If it holds slices of one DICOM series, it is an image itself.
    """
    from wsseg.data.readers.dicom import images_of, may_be_dicom

    files = [path for path in sorted(folder.glob("[!.]*")) if path.is_file()]
    images = [path for path in files if is_readable(path)]
    slices = [path for path in images if may_be_dicom(path)]
    return [*(path for path in images if path not in slices), *images_of(folder, slices)]


def images_below(root: Path) -> list[Path]:
    """Return the images of a folder and of all folders below it, without hidden ones.

    Links to folders are followed, but no folder is entered twice.

    Args:
        root: The folder. A folder of one DICOM series is an image itself.
    """
    found, seen = [], set()
    for folder, below, _ in os.walk(root, followlinks=True):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))
        if (real := here.resolve()) in seen:
            below[:] = []
        else:
            seen.add(real)
            found += images_in(here)
    return found


def stem(path: Path) -> str:
    """Return the name of an image without what its format adds to it.

    Example:
        >>> [stem(Path(name)) for name in ("ann.1.nii.gz", "ann.1.PNG", "ann.1")]
        ['ann.1', 'ann.1', 'ann.1']
    """
    matches = (ending.search(path.name) for ending in ENDINGS.values())
    return next((path.name[: match.start()] for match in matches if match), path.name)


def files_of(path: Path) -> list[Path]:
    """Return the files that an image consists of, in a fixed order.

    Args:
        path: A path that :func:`read_header` has read.
    """
    files = getattr(_reader(path), "files_of", None)  # of formats that take several
    return files(path) if files else [path]


def _reader(path: Path) -> Reader:
    # Here, since the reader of TIFF slices imports a layout and layouts import this module.
    from wsseg.data.readers import dicom, nifti, tiff_stack

    if path.is_dir():
        return tiff_stack if tiff_stack.is_stack(path) else dicom
    if not path.exists() and dicom.SERIES_MARK in str(path):
        return dicom
    for name, ending in ENDINGS.items():
        if ending.search(path.name):
            reader: Reader = import_module(f"wsseg.data.readers.{name}")
            return reader
    return dicom if path.exists() and dicom.is_dicom(path) else nifti
