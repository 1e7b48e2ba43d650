"""Reads NIfTI files to their last byte, or says in one line why it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from wsseg.utils.errors import InputError

DEFLATE_RATIO = 1040  # no deflate stream expands further
GZIP_FRAMING = 16 + isal_zlib.MAX_WBITS  # zlib's code for a stream with gzip's header and CRC
NIFTI_ENDINGS = (".nii", ".nii.gz")
HEADER_BYTES = 540  # of the longest header, that of NIfTI-2
PACKED_HEADER_BYTES = 4096  # a header takes less than this when it is compressed
CHUNK_BYTES = 1 << 20  # how much is unpacked at a time of what follows the volume, to check the CRC
HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
IMAGE_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}


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
        content = path.read_bytes()
        header, expected = _parse(content, len(content), path, case)
        content = _inflate(content, expected) if _is_packed(path) else content[:expected]
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
        with path.open("rb") as stream:
            start = stream.read(PACKED_HEADER_BYTES)
        header, _ = _parse(start, path.stat().st_size, path, case)
        _check_kind(header.get_data_dtype(), path, case)
        return header


def voxels(image: nib.Nifti1Image, path: Path, case: str) -> NDArray[Any]:
    """Return the voxels as they are meant, without trailing axes of length one.

    Whole numbers of at most 16 bits that need no scaling stay what they are, where the file was
    read to: they are quicker to work with. All others come as float32.

    Raises:
        InputError: The voxels are not numbers.
    """
    stored: Any = image.dataobj
    _check_kind(stored.dtype, path, case)
    array: NDArray[Any]
    if (stored.dtype.kind, stored.slope, stored.inter) in (("i", 1, 0), ("u", 1, 0)) and (
        stored.dtype.itemsize <= 2
    ):
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
        yield
        return
    except InputError:
        raise
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


def _parse(start: bytes, length: int, path: Path, case: str) -> tuple[nib.Nifti1Header, int]:
    """Return the header at the start of a file, and how many bytes it claims, unpacked."""
    packed = _is_packed(path)
    if packed:
        start = isal_zlib.decompressobj(GZIP_FRAMING).decompress(start, HEADER_BYTES)
    size = _header_size(start)
    header = HEADER_CLASSES[size](start[:size])  # type: ignore[no-untyped-call]
    try:
        header.get_best_affine()
    except ValueError as error:  # rounded quaternions that are longer than 1
        raise InputError(
            f"{path} (case {case}): has no usable position ({error}); correct the qform in its "
            "header"
        ) from None
    count = math.prod(int(n) for n in header.get_data_shape())
    expected = max(int(header["vox_offset"]), size + 4)
    expected += count * int(header.get_data_dtype().itemsize)
    if expected > length * (DEFLATE_RATIO if packed else 1):
        raise InputError(
            f"{path} (case {case}): claims {expected} bytes in its header, more than the file "
            "can hold; copy it again or remove the case"
        )
    return header, expected


def _inflate(packed: bytes, count: int) -> bytes:
    """Return the first bytes of a gzip file after checking the CRCs of all of it.

    In one call, during which other threads work: Python's gzip module takes 8 KiB at a time, and
    four files in four threads took 92 ms with it and 54 ms this way (two cores).

    Raises:
        EOFError: The file ends too early.
        isal_zlib.error: It is damaged.
    """
    parts = []
    while packed:  # a file may be several streams
        stream = isal_zlib.decompressobj(GZIP_FRAMING)
        parts.append(stream.decompress(packed, max(count, 1))[:count])
        count -= len(parts[-1])
        while not stream.eof:  # the CRC is at the end
            more = stream.decompress(stream.unconsumed_tail, CHUNK_BYTES)
            if not (more or stream.eof or stream.unconsumed_tail):
                raise EOFError
        packed = stream.unused_data.lstrip(b"\0")
    if count > 0:
        raise EOFError
    return b"".join(parts)


def _header_size(start: bytes) -> int:
    for order in ("<i4", ">i4"):
        size = int(np.frombuffer(start[:4], order)[0]) if len(start) >= 4 else 0
        if size in HEADER_CLASSES:
            if len(start) < size:
                raise EOFError
            return size
    raise ValueError("no NIfTI header")
