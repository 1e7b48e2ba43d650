"""Reads NRRD and MetaImage, in one file or with the voxels in another, by SimpleITK."""

from __future__ import annotations

import re
import zlib
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers.affines import affine_of, problem_of_affine
from wsseg.data.readers.header import COLOURS, Header
from wsseg.data.readers.refusal import check_memory, refusing
from wsseg.data.readers.values import plain
from wsseg.utils.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)

KIND = "NRRD or MetaImage file"
DETACHED = (".nhdr", ".mhd")
HEADER_BYTES = 1 << 16  # of the text that NRRD and MetaImage files begin with, more than enough
UNITS = re.compile(rb'^space units:\s*"([^"]*)"', re.MULTILINE)
MM_PER_UNIT = {b"mm": 1.0, b"": 1.0, b"um": 1e-3, b"micron": 1e-3, b"cm": 10.0, b"m": 1000.0}
PACKED = re.compile(rb"^CompressedData\s*=\s*True", re.MULTILINE | re.IGNORECASE)
DATA = re.compile(rb"^ElementDataFile\s*=\s*(.*?)\s*\n", re.MULTILINE | re.IGNORECASE)
PLANE_FILES = re.compile("^LIST|%")  # files, a plane each
DIMENSIONS = re.compile(rb"^DimSize\s*=", re.MULTILINE | re.IGNORECASE)
NO_VOLUME = "truncated, damaged or of another format"


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the header of a volume.

    Args:
        path: A file ending in ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: A file is missing or empty, or is not of its format.
    """
    with refusing(path, case, KIND):
        return _header(_information(path), path, case)


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a volume; the elements of vectors and the places on a fourth axis are channels.

    Args:
        path: A file ending in ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: A file is missing, empty, truncated, damaged or not of its format.
    """
    import SimpleITK as sitk  # noqa: N813

    with refusing(path, case, KIND):
        reader = _information(path)
        header = _header(reader, path, case)
        length = prod(header.shape) * header.channels * np.dtype(np.float64).itemsize
        check_memory(length // 2)
        _check_data(reader, path, case, length)
        image = _execute(reader.Execute)
        array = sitk.GetArrayViewFromImage(image)
        if reader.GetNumberOfComponents() == 1:
            array = array[..., None]
        if reader.GetDimension() == 4:
            array = np.moveaxis(array[..., 0], 0, -1)
        elif reader.GetDimension() == 2:
            array = array[None]
        return header, plain(np.array(array).transpose(2, 1, 0, 3))


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a volume: one, or a header and what it names."""
    if path.suffix.lower() not in DETACHED:
        return [path]
    with path.open("rb") as stream:
        lines = stream.read(HEADER_BYTES).decode("utf-8", "replace").splitlines()
    named = [path.parent / re.split(r"[:=]\s*", line, maxsplit=1)[-1].strip() for line in lines]
    return [path, *(file for file in named if file.is_file())]


def _information(path: Path) -> sitk.ImageFileReader:
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # warnings lack the name of the file
    reader = sitk.ImageFileReader()
    # Libraries of all formats of ITK would look at the file, and complain without its name.
    reader.SetImageIO(_format(path))
    reader.SetFileName(str(path))
    _execute(reader.ReadImageInformation)
    return reader


def _format(path: Path) -> str:
    """Return ITK's name for the format of a file that begins as the format demands."""
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    name = "NrrdImageIO" if path.suffix.lower() in (".nrrd", ".nhdr") else "MetaImageIO"
    good = start.startswith(b"NRRD") if name == "NrrdImageIO" else _is_meta_image(start)
    if not good:
        raise ValueError(NO_VOLUME)
    return name


def _is_meta_image(start: bytes) -> bool:
    return bool(DIMENSIONS.search(start) and DATA.search(start))


def _execute(function: Any) -> Any:
    try:
        return function()
    except RuntimeError as error:  # a paragraph, with the names of its own sources
        if "alloc" in str(error):
            raise MemoryError from None
        raise ValueError(NO_VOLUME) from None


def _header(reader: sitk.ImageFileReader, path: Path, case: str) -> Header:
    import SimpleITK as sitk  # noqa: N813

    size, channels = list(reader.GetSize()), reader.GetNumberOfComponents()
    dimension = len(size)
    if dimension not in (2, 3, 4) or (dimension == 4 and channels > 1):
        raise ValueError(f"{dimension} axes, where those of a volume and its channels are expected")
    colour = channels == len(COLOURS) and reader.GetPixelID() == sitk.sitkVectorUInt8
    if dimension == 4:
        channels = size.pop()
    spacing, origin = [*reader.GetSpacing(), 1.0][:3], [*reader.GetOrigin(), 0.0][:3]
    turn = np.eye(3)
    turn[: min(dimension, 3), : min(dimension, 3)] = np.reshape(
        reader.GetDirection(), (dimension, dimension)
    )[:3, :3]
    affine = affine_of((turn * spacing).T, origin)
    affine[:3] *= _mm_per_unit(path)
    if problem := problem_of_affine(affine):
        raise InputError(f"{path} (case {case}): {problem}")
    x, y, z = (*size, 1)[:3]
    return Header((x, y, z), affine, channels, "mm", COLOURS if colour else ())


def _mm_per_unit(path: Path) -> float:
    with path.open("rb") as stream:
        match = UNITS.search(stream.read(HEADER_BYTES))
    unit = match[1].strip().lower() if match else b""
    if unit not in MM_PER_UNIT:
        raise ValueError(f"unknown unit of length {unit.decode('utf-8', 'replace')}")
    return MM_PER_UNIT[unit]


def _check_data(reader: sitk.ImageFileReader, path: Path, case: str, most: int) -> None:
    """Check the voxels of a MetaImage: where they are damaged or cut off ITK returns anything.

    Raises:
        InputError: Their file is missing.
        EOFError: They end too early.
        zlib.error: They are compressed, and damaged.
    """
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    match = DATA.search(start)
    if path.suffix.lower() not in (".mha", ".mhd") or not match:
        return
    name = match[1].decode("utf-8", "replace")
    if PLANE_FILES.search(name):
        return
    file, offset = (path, match.end()) if name.upper() == "LOCAL" else (path.parent / name, 0)
    if not file.is_file():
        raise InputError(f"{path} (case {case}): lacks {name}, its voxels; copy that file, too")
    if PACKED.search(start):
        unpacking = zlib.decompressobj()
        unpacking.decompress(file.read_bytes()[offset:], most + 1)
        if not unpacking.eof:
            raise EOFError
    elif file.stat().st_size - offset < _length(reader):
        raise EOFError


def _length(reader: sitk.ImageFileReader) -> int:
    """Return how many bytes the voxels take."""
    import SimpleITK as sitk  # noqa: N813

    components = reader.GetNumberOfComponents()
    voxel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), components)
    size: int = voxel.GetSizeOfPixelComponent() * components * prod(reader.GetSize())
    return size
