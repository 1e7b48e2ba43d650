"""Reads volumes of FreeSurfer, MGH and MGZ."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from numpy.typing import NDArray

from wsseg.data.readers.affines import problem_of_affine
from wsseg.data.readers.gzipped import (
    GZIP_MAGIC,
    check_length,
    read_content,
    read_start,
    unpack_start,
)
from wsseg.data.readers.header import Header
from wsseg.data.readers.refusal import check_memory, refusing
from wsseg.data.readers.values import plain
from wsseg.utils.errors import InputError

HEADER_BYTES = 284


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read the header of a volume.

    Args:
        path: A ``.mgh`` or ``.mgz`` file.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, not of this format, or too short for what it claims
            to hold.
    """
    with refusing(path, case, "MGH file"):
        return _parse(path, case)[0]


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a volume; its frames are channels.

    Args:
        path: A ``.mgh`` or ``.mgz`` file.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: The file is missing, empty, truncated, damaged or not of this format.
    """
    with refusing(path, case, "MGH file"):
        header, stored, packed = _parse(path, case)
        expected = _length(stored)
        check_memory(expected)
        content = read_content(path, case, expected, packed=packed)
        array = np.frombuffer(content, stored.get_data_dtype(), offset=HEADER_BYTES)
        return header, plain(array.reshape((*header.shape, header.channels), order="F"))


def _parse(path: Path, case: str) -> tuple[Header, MGHHeader, bool]:
    """Return the header, as FreeSurfer stores it, too, and whether the file is compressed."""
    start = read_start(path)
    packed = start.startswith(GZIP_MAGIC)
    if packed:
        start = unpack_start(start, HEADER_BYTES)
    if len(start) < HEADER_BYTES:
        raise EOFError
    stored = MGHHeader.from_fileobj(io.BytesIO(start[:HEADER_BYTES]))
    x, y, z, channels = (*map(int, stored.get_data_shape()), 1)[:4]
    if min(x, y, z, channels) < 1:
        raise ValueError(f"no voxels in the shape {(x, y, z, channels)}")
    affine = np.array(stored.get_affine(), np.float64)
    if problem := problem_of_affine(affine):
        raise InputError(f"{path} (case {case}): {problem}")
    check_length(path, case, _length(stored), packed=packed)
    return Header((x, y, z), affine, channels), stored, packed


def _length(stored: MGHHeader) -> int:
    count = math.prod(int(length) for length in stored.get_data_shape())
    return HEADER_BYTES + count * int(stored.get_data_dtype().itemsize)
