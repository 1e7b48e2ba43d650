"""A file of maps, one for each slice: a byte per pixel and class."""

from __future__ import annotations

import math
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsseg.utils.errors import InputError
from wsseg.utils.targets import IGNORE

STEPS = 254  # of a byte from 0 to 1; a byte of 0 is "unknown", so that unwritten rows are ignored
PACKED_TOGETHER = 2**24  # bytes of the file that one thread compresses at a time


def encode(relevance: Tensor) -> Tensor:
    """Store maps in bytes: 0 is unknown, 1 to 255 are the relevance from 0 to 1.

    Args:
        relevance: Values in [0, 1], or ``IGNORE``.

    Example:
        >>> encode(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [0, 1, 255]
    """
    step = torch.round(relevance * STEPS) + 1
    return torch.where(relevance >= 0, step, 0).to(torch.uint8)


def decode(stored: Tensor) -> Tensor:
    """Return float32 maps from :func:`encode`, within 1/508 of what was stored."""
    relevance = (stored.float() - 1) / STEPS
    return torch.where(stored > 0, relevance, IGNORE)


class MapFile:
    """The maps of all slices in one file, which every process that sees the folder may read.

    The file is sparse: slices that were never written take no room and are unknown everywhere.
    Rows are read and written one by one, not through a memory map: a full disk is then an
    ``OSError`` instead of a crash, and two machines on a network file system never overwrite each
    other's rows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     maps = MapFile(Path(folder), (3, 1, 2, 2), version=1)
        ...     maps.create()
        ...     maps.write(torch.tensor([2]), torch.ones(1, 1, 2, 2))
        ...     maps.lookup(torch.tensor([2, 0]))[:, 0, 0].tolist()
        [[1.0, 1.0], [-1.0, -1.0]]
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int, int], version: int) -> None:
        """Name the file; :meth:`create` makes it.

        Args:
            folder: Folder of the file.
            shape: Numbers of slices and classes, height and width.
            version: Tells this file from earlier ones in the same folder.
        """
        self.path = folder / f"maps-{version}.bin"
        self.shape = shape
        self.version = version

    def create(self) -> None:
        """Make the file, with every slice unknown. One process does it for all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            file.truncate(math.prod(self.shape))

    def write(self, index: Tensor, relevance: Tensor) -> None:
        """Store the maps of some slices.

        Args:
            index: Ids of the slices, [B] int64.
            relevance: [B, C, h, w] in [0, 1], or ``IGNORE``.
        """
        rows = encode(relevance).cpu().contiguous().numpy()
        with self.path.open("r+b", buffering=0) as file:
            for position, row in zip(index.tolist(), rows, strict=True):
                file.seek(position * row.size)
                _write_all(file.fileno(), row.tobytes())

    def lookup(self, index: Tensor) -> Tensor:
        """Return the maps of some slices.

        Args:
            index: Ids of the slices, [B] int64, on any device.

        Returns:
            [B, C, h, w] float32 on the CPU, in [0, 1] or ``IGNORE``.

        Raises:
            InputError: There is no such slice.
        """
        positions = index.tolist()
        for position in positions:
            if not 0 <= position < self.shape[0]:
                raise InputError(
                    f"slice index {position} is out of range: there are cluster maps for 0 to "
                    f"{self.shape[0] - 1}; `index` must be the slice's id in the training data, and"
                    " a callback or checkpoint that has seen other data cannot be used with these "
                    "slices"
                )
        rows = np.zeros((len(positions), *self.shape[1:]), np.uint8)
        with self.path.open("rb", buffering=0) as file:
            for position, row in zip(positions, rows, strict=True):
                os.preadv(file.fileno(), [row.data], position * row.size)
        return decode(torch.from_numpy(rows))

    def lookup_known(self, index: Tensor) -> Tensor:
        """Return the maps of slices as :meth:`lookup` does, ``IGNORE`` if there is no such slice.

        Args:
            index: Ids of the slices, [B] int64, on any device.
        """
        index = index.cpu()
        known = (index >= 0) & (index < self.shape[0])
        found = torch.full((len(index), *self.shape[1:]), IGNORE)
        found[known] = self.lookup(index[known])
        return found

    def pack(self, together: int = PACKED_TOGETHER) -> Tensor:
        """Return the whole file compressed, as a tensor of bytes that fits into a checkpoint.

        All cores compress parts of it, since other processes wait meanwhile.

        Args:
            together: Bytes of the file in a part.
        """
        starts = range(0, math.prod(self.shape), together)
        with (
            self.path.open("rb", buffering=0) as file,
            ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        ):
            packed = bytearray().join(pool.map(partial(_compress, file.fileno(), together), starts))
        return torch.frombuffer(packed or bytearray(1), dtype=torch.uint8)[: len(packed)]

    def unpack(self, packed: Tensor, together: int = PACKED_TOGETHER) -> None:
        """Make the file from what :meth:`pack` returned. One process does it for all.

        Args:
            packed: Bytes.
            together: What :meth:`pack` was told.
        """
        self.create()
        data, place = packed.numpy().data, 0
        with self.path.open("r+b") as file:
            while place < len(data):
                unpacker, window = zlib.decompressobj(), data[place : place + 2 * together]
                chunk = unpacker.decompress(window)
                place += len(window) - len(unpacker.unused_data)
                if chunk.count(0) < len(chunk):
                    file.write(chunk)
                else:  # nothing but unknown pixels, which the file holds already
                    file.seek(len(chunk), os.SEEK_CUR)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _compress(descriptor: int, count: int, start: int) -> bytes:
    return zlib.compress(os.pread(descriptor, count, start), level=1)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, or raise what the system says; it may take several calls on a full disk."""
    while data:
        data = data[os.write(descriptor, data) :]
