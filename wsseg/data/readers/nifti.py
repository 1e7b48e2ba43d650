"""Reads NIfTI files to their last byte, or says in one line why it cannot."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from wsseg.data.readers.header import Header
from wsseg.data.readers.nifti_header import affine_in_mm, problem_of_header
from wsseg.data.readers.refusal import LARGEST_PACKING, check_memory, refusing
from wsseg.utils.errors import InputError

LARGEST_EXPANSION = 1.001  # nor is one longer than so many times what it holds
GZIP_FRAMING = 16 + isal_zlib.MAX_WBITS  # zlib's code for a stream with gzip's header and CRC
GZIP_MAGIC = b"\x1f\x8b"
NIFTI_ENDINGS = (".nii", ".nii.gz")
PAIR_ENDING = re.compile(r"\.(hdr|img)(\.gz)?$", re.IGNORECASE)
HEADER_BYTES = 540  # of the longest header, that of NIfTI-2
PACKED_HEADER_BYTES = 4096  # a header takes less than this when it is compressed
CHUNK_BYTES = 1 << 20  # how much is unpacked at a time of what follows the volume, to check the CRC
# How much may follow the volume: some tools pad. Much more is a volume that the header leaves out,
# or a small gzip file that would be unpacked for hours.
MOST_EXTRA_BYTES = 1 << 26
KEPT_KINDS = ("i1", "i2", "u1", "u2", "f4")
BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
IMAGE_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}

# What nibabel logs of headers lacks the name of the file. What matters of it is checked here.
nib.imageglobals.logger.setLevel(logging.CRITICAL + 1)


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the header of a NIfTI file and no more, and check what it alone can tell.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, not a NIfTI file, too short for what it
            claims to hold, or holds no numbers.
    """
    with _refusing(path, case):
        header, _ = _parse(path, case)
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
        path: A ``.nii`` or ``.nii.gz`` file.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, truncated, damaged or not a NIfTI file, or holds no
            numbers.
    """
    with _refusing(path, case):
        header, expected = _parse(path, case)
        _check_kind(header.get_data_dtype(), path, case)
        neutral = _neutral(header, path, case)
        check_memory(expected)
        if _is_packed(path):
            content = _inflate(path.read_bytes(), expected, path, case)
        else:
            with path.open("rb") as stream:
                content = stream.read(expected)
        array = _voxels(IMAGE_CLASSES[header.sizeof_hdr].from_bytes(content))
        shape = neutral.shape if neutral.channels == 1 else (*neutral.shape, neutral.channels)
        return neutral, array.reshape(shape, order="A")


def _voxels(image: nib.Nifti1Image) -> NDArray[Any]:
    stored: Any = image.dataobj
    kind = f"{stored.dtype.kind}{stored.dtype.itemsize}"
    if kind not in KEPT_KINDS or (stored.slope, stored.inter) != (1, 0):
        scaled: NDArray[Any] = image.get_fdata(dtype=np.float32, caching="unchanged")
        return scaled
    content = stored.file_like.getvalue()
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
    return Header((x, y, z), affine_in_mm(header), channels[0], nifti=header)


@contextmanager
def _refusing(path: Path, case: str) -> Iterator[None]:
    """Say in one line what is wrong with a file."""
    named = path.name.lower().endswith(NIFTI_ENDINGS)
    advice = "copy it again or remove the case" if named else "convert it to .nii.gz"
    with refusing(path, case, "NIfTI file", advice):
        if match := PAIR_ENDING.search(path.name):
            raise InputError(f"{path} (case {case}): {_problem_of_pair(path, match)}")
        try:
            yield
        except isal_zlib.error as error:  # type: ignore[misc]  # its stubs call the class an instance
            raise InputError(
                f"{path} (case {case}): is damaged or not a gzip file ({error}); {advice}"
            ) from None


def _check_kind(dtype: np.dtype[Any], path: Path, case: str) -> None:
    if dtype.kind not in "iuf":
        raise InputError(
            f"{path} (case {case}): holds unusable voxels (of type {dtype}); convert it to numbers"
        )


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _problem_of_pair(path: Path, ending: re.Match[str]) -> str:
    kind = ".img" if ending[1].lower() == "hdr" else ".hdr"
    stem = path.name[: ending.start()]
    others = [path.with_name(f"{stem}{kind}{packing}") for packing in ("", ".gz")]
    found = next((other for other in others if other.is_file()), None)
    other, whose = (
        (found, "") if found else (others[0], f" (the other half, {others[0]}, is missing)")
    )
    return (
        f"is not a readable volume by itself but half of a .hdr/.img pair{whose}; convert it "
        f"together with {other.name} to .nii.gz"
    )


def _parse(path: Path, case: str) -> tuple[nib.Nifti1Header, int]:
    """Return the checked header of a file, and how many bytes it claims, unpacked."""
    with path.open("rb") as stream:
        start = stream.read(PACKED_HEADER_BYTES)
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
    if packed:
        start = isal_zlib.decompressobj(GZIP_FRAMING).decompress(start, HEADER_BYTES)
    size = _header_size(start)
    # First without nibabel's repairs, which would make voxels of 1 mm where a size is missing.
    problem = problem_of_header(HEADER_CLASSES[size](start[:size], check=False))  # type: ignore[no-untyped-call]
    if problem:
        raise InputError(f"{path} (case {case}): {problem}")
    header = HEADER_CLASSES[size](start[:size])  # type: ignore[no-untyped-call]
    count = math.prod(int(n) for n in header.get_data_shape())
    expected = int(header["vox_offset"]) + count * int(header.get_data_dtype().itemsize)
    length = path.stat().st_size
    if expected > length * (LARGEST_PACKING if packed else 1):
        raise InputError(
            f"{path} (case {case}): claims {expected} bytes in its header, more than the file "
            "can hold; copy it again or remove the case"
        )
    if length > expected * LARGEST_EXPANSION + MOST_EXTRA_BYTES:
        raise _too_long(path, case, expected)
    return header, expected


def _too_long(path: Path, case: str, expected: int) -> InputError:
    return InputError(
        f"{path} (case {case}): holds far more than the {expected} bytes that its header claims; "
        "correct the header, or copy the file again"
    )


def _inflate(packed: bytes, count: int, path: Path, case: str) -> bytes:
    """Return the first bytes of a gzip file after checking the CRCs of all of it.

    In one call, during which other threads work: Python's gzip module takes 8 KiB at a time, and
    four files in four threads took 92 ms with it and 54 ms this way (two cores).

    Raises:
        EOFError: The file ends too early.
        isal_zlib.error: It is damaged.
        InputError: It holds far more.
    """
    parts, expected, extra = [], count, 0
    while packed:  # a file may be several streams
        stream = isal_zlib.decompressobj(GZIP_FRAMING)
        parts.append(stream.decompress(packed, max(count, 1))[:count])
        count -= len(parts[-1])
        while not stream.eof:  # the CRC is at the end
            more = stream.decompress(stream.unconsumed_tail, CHUNK_BYTES)
            extra += len(more)
            if extra > MOST_EXTRA_BYTES:
                raise _too_long(path, case, expected)
            if not (more or stream.eof or stream.unconsumed_tail):
                raise EOFError
        packed = stream.unused_data.lstrip(b"\0")
    if count > 0:
        raise EOFError
    return b"".join(parts)


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
