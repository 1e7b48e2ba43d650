"""Reads NIfTI files and pairs to their last byte, or says in one line why it cannot."""

from __future__ import annotations

import io
import logging
import math
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers.gzipped import (
    GZIP_MAGIC,
    check_length,
    read_content,
    read_start,
    unpack_start,
)
from wsseg.data.readers.header import Header
from wsseg.data.readers.nifti_header import affine_in_mm, problem_of_header
from wsseg.data.readers.refusal import check_memory, refusing
from wsseg.utils.errors import InputError

NIFTI = re.compile(r"\.(nii|hdr|img)(\.gz)?$", re.IGNORECASE)
PAIR = re.compile(r"\.(hdr|img)(\.gz)?$", re.IGNORECASE)
OTHER_FORMAT = "convert a volume to .nii.gz, a picture to .png"
HEADER_BYTES = 540  # of the longest header, that of NIfTI-2
KEPT_KINDS = ("i1", "i2", "u1", "u2", "f4")
BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
PAIR_MAGIC = (b"ni1", b"ni2")
PAIR_CLASSES = {348: nib.nifti1.Nifti1PairHeader, 540: nib.nifti2.Nifti2PairHeader}

# What nibabel logs of headers lacks the name of the file. What matters of it is checked here.
nib.imageglobals.logger.setLevel(logging.CRITICAL + 1)


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the header of a NIfTI file and no more, and check what it alone can tell.

    Args:
        path: A ``.nii`` file or one half of a pair, compressed or not.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, not a NIfTI file, too short for what it
            claims to hold, or holds no numbers.
    """
    with _refusing(path, case):
        header, _, _ = _parse(path, case)
        _check_kind(header.get_data_dtype(), path, case)
        return _neutral(header, path, case)


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a NIfTI file whole and check it.

    The gzip stream is read to its end, which checks its CRC (nibabel alone does not), and the size
    that the header claims is compared with the file before memory is asked for.

    Whole numbers of at most 16 bits and float32 that need no scaling stay what they are, where the
    file was read to: that takes no more memory than the file holds, and whole numbers are quicker
    to work with. All others come as float32.

    Args:
        path: A ``.nii`` file or one half of a pair, compressed or not.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, truncated, damaged or not a NIfTI file, or holds no
            numbers.
    """
    with _refusing(path, case):
        header, data, expected = _parse(path, case)
        _check_kind(header.get_data_dtype(), path, case)
        neutral = _neutral(header, path, case)
        check_memory(expected)
        content = read_content(data, case, expected, packed=_is_packed(data))
        array = _voxels(nib.arrayproxy.ArrayProxy(io.BytesIO(content), header), content)
        shape = neutral.shape if neutral.channels == 1 else (*neutral.shape, neutral.channels)
        return neutral, array.reshape(shape, order="A")


def files_of(path: Path) -> list[Path]:
    """Return the file, or of a pair the header and the file of its voxels."""
    match = PAIR.search(path.name)
    if not match:
        return [path]
    stem, packing = path.name[: match.start()], match[2] or ""
    halves = []
    for kind in ("HDR", "IMG") if match[1].isupper() else ("hdr", "img"):
        names = [path.with_name(f"{stem}.{kind}{each}") for each in (packing, "", ".gz")]
        halves.append(next((name for name in names if name.is_file()), names[0]))
    return halves


def _voxels(stored: Any, content: bytes) -> NDArray[Any]:
    kind = f"{stored.dtype.kind}{stored.dtype.itemsize}"
    if kind not in KEPT_KINDS or (stored.slope, stored.inter) != (1, 0):
        return np.asanyarray(stored, dtype=np.float32)
    array: NDArray[Any]
    array = np.frombuffer(content, stored.dtype, math.prod(stored.shape), stored.offset)
    array = array.reshape(stored.shape, order="F")
    return array.astype(stored.dtype.newbyteorder("="), copy=False)


def _neutral(header: nib.Nifti1Header, path: Path, case: str) -> Header:
    """Return what all formats tell; axes beyond the third that are longer than 1 are channels."""
    shape = tuple(int(length) for length in header.get_data_shape())
    x, y, z = (*shape, 1, 1)[:3]
    channels = [length for length in shape[3:] if length > 1] or [1]
    if len(channels) > 1:
        raise InputError(
            f"{path} (case {case}): has shape {shape}, where a volume is expected, or channels of "
            "one; split it"
        )
    kept = header if header.is_single else None
    return Header((x, y, z), affine_in_mm(header), channels[0], nifti=kept)


def _refusing(path: Path, case: str) -> AbstractContextManager[None]:
    if NIFTI.search(path.name):
        return refusing(path, case, "NIfTI file")
    return refusing(path, case, "image of a known format", OTHER_FORMAT)


def _check_kind(dtype: np.dtype[Any], path: Path, case: str) -> None:
    if dtype.kind not in "iuf":
        raise InputError(
            f"{path} (case {case}): holds unusable voxels (of type {dtype}); convert it to numbers"
        )


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _parse(path: Path, case: str) -> tuple[nib.Nifti1Header, Path, int]:
    """Return the checked header, the file of the voxels, and how many bytes that should hold."""
    files = files_of(path)
    for half in files:
        if not half.is_file():
            raise InputError(
                f"{path} (case {case}): is half of a .hdr/.img pair, and {half} is missing; copy "
                "both"
            )
    classes = HEADER_CLASSES if len(files) == 1 else PAIR_CLASSES
    start = _start_of_header(files[0], case)
    size = _header_size(start)
    # First without nibabel's repairs, which would make voxels of 1 mm where a size is missing.
    unchecked = classes[size](start[:size], check=False)  # type: ignore[no-untyped-call]
    if len(files) == 2 and unchecked["magic"] not in PAIR_MAGIC:
        raise InputError(
            f"{path} (case {case}): is a pair of Analyze, which does not tell left from right, and "
            "not of NIfTI; convert it to .nii.gz"
        )
    if problem := problem_of_header(unchecked):
        raise InputError(f"{path} (case {case}): {problem}")
    header = classes[size](start[:size])  # type: ignore[no-untyped-call]
    count = math.prod(int(n) for n in header.get_data_shape())
    expected = int(header["vox_offset"]) + count * int(header.get_data_dtype().itemsize)
    check_length(files[-1], case, expected, packed=_is_packed(files[-1]))
    return header, files[-1], expected


def _start_of_header(path: Path, case: str) -> bytes:
    start = read_start(path)
    packed = _is_packed(path)
    if not packed and start.startswith(GZIP_MAGIC):
        raise InputError(
            f"{path} (case {case}): is compressed, but not named so; add .gz to its name"
        )
    if packed and not start.startswith(GZIP_MAGIC) and _starts_header(start):
        raise InputError(
            f"{path} (case {case}): is not compressed, but named so; rename it to "
            f"{path.name[: -len('.gz')]}"
        )
    return unpack_start(start, HEADER_BYTES) if packed else start


def _starts_header(start: bytes) -> bool:
    return any(int.from_bytes(start[:4], order) in HEADER_CLASSES for order in BYTE_ORDERS)


def _header_size(start: bytes) -> int:
    for order in BYTE_ORDERS:
        size = int.from_bytes(start[:4], order)
        if size in HEADER_CLASSES:
            if len(start) < size:
                raise EOFError
            return size
    raise ValueError("no NIfTI header")
