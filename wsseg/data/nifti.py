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

from wsseg.data.nifti_header import problem_of_header
from wsseg.utils.errors import InputError
from wsseg.utils.system import total_memory

DEFLATE_RATIO = 1040  # no deflate stream expands further
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
COPIES = 2  # of a volume in memory: as its bytes, and as float32 or as one of its channels
KEPT_KINDS = ("i1", "i2", "u1", "u2", "f4")
BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
IMAGE_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}

# What nibabel logs of headers lacks the name of the file. What matters of it is checked here.
nib.imageglobals.logger.setLevel(logging.CRITICAL + 1)


def read_nifti(path: Path, case: str) -> nib.Nifti1Image:
    """Read a NIfTI file whole and check it.

    The gzip stream is read to its end, which checks its CRC (nibabel alone does not), and the size
    that the header claims is compared with the file before memory is asked for.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.
        case: Name of the case, for messages.

    Returns:
        The image, its bytes in memory.

    Raises:
        InputError: The file is missing, empty, truncated, damaged or not a NIfTI file.
    """
    with _refusing(path, case):
        header, expected = _parse(path, case)
        if COPIES * expected > total_memory():
            raise MemoryError
        if _is_packed(path):
            content = _inflate(path.read_bytes(), expected, path, case)
        else:
            with path.open("rb") as stream:
                content = stream.read(expected)
        return IMAGE_CLASSES[header.sizeof_hdr].from_bytes(content)


def read_header(path: Path, case: str) -> nib.Nifti1Header:
    """Read the header of a NIfTI file and no more, and check what it alone can tell.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.
        case: Name of the case, for messages.

    Raises:
        InputError: The file is missing, empty, not a NIfTI file, too short for what it
            claims to hold, or holds no numbers.
    """
    with _refusing(path, case):
        header, _ = _parse(path, case)
        _check_kind(header.get_data_dtype(), path, case)
        return header


def voxels(image: nib.Nifti1Image, path: Path, case: str) -> NDArray[Any]:
    """Return the voxels as they are meant, without trailing axes of length one.

    Whole numbers of at most 16 bits and float32 that need no scaling stay what they are, where the
    file was read to: that takes no more memory than the file holds, and whole numbers are quicker
    to work with. All others come as float32.

    Raises:
        InputError: The voxels are not numbers.
    """
    stored: Any = image.dataobj
    _check_kind(stored.dtype, path, case)
    array: NDArray[Any]
    kind = f"{stored.dtype.kind}{stored.dtype.itemsize}"
    if kind in KEPT_KINDS and (stored.slope, stored.inter) == (1, 0):
        content = stored.file_like.getvalue()
        array = np.frombuffer(content, stored.dtype, math.prod(stored.shape), stored.offset)
        array = array.reshape(stored.shape, order="F")
        array = array.astype(stored.dtype.newbyteorder("="), copy=False)
    else:
        array = image.get_fdata(dtype=np.float32, caching="unchanged")
    return array.reshape(squeezed(array.shape), order="A")


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without what follows its third axis if that is of length one."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


@contextmanager
def _refusing(path: Path, case: str) -> Iterator[None]:
    """Say in one line what is wrong with a file."""
    try:
        if not path.is_file():
            raise InputError(
                f"{path} (case {case}): does not exist; correct the path or add the file"
            )
        if path.stat().st_size == 0:
            raise InputError(f"{path} (case {case}): is empty; copy it again")
        if match := PAIR_ENDING.search(path.name):
            raise InputError(f"{path} (case {case}): {_problem_of_pair(path, match)}")
        yield
        return
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path} (case {case}): takes more memory than there is; crop or resample it, or use a "
            "larger computer"
        ) from None
    except EOFError:
        problem = "is truncated"
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path} (case {case}): cannot be read ({reason}); check that you may read it"
        ) from None
    except isal_zlib.error as error:  # type: ignore[misc]  # its stubs call the class an instance
        problem = f"is damaged or not a gzip file ({error})"
    except Exception as error:  # nibabel raises many kinds for a broken header
        problem = f"is not a readable NIfTI file ({type(error).__name__}: {error})"
    problem = " ".join(problem.split())
    named = path.name.lower().endswith(NIFTI_ENDINGS)
    advice = "copy it again or remove the case" if named else "convert it to .nii.gz"
    raise InputError(f"{path} (case {case}): {problem}; {advice}")


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
    if expected > length * (DEFLATE_RATIO if packed else 1):
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
