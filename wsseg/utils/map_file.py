"""A file that holds a relevance map of each slice, with one byte per pixel and class."""

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
from wsseg.utils.files import naming
from wsseg.utils.targets import IGNORE

STEPS = 254  # bytes 1 to 255 stand for 0 to 1; byte 0 for "unknown", as in rows never written
PACKED_TOGETHER = 2**24  # bytes of the file that one thread compresses at a time


def encode(relevance: Tensor) -> Tensor:
    """Convert maps to bytes: 0 for unknown, 1 to 255 for a relevance of 0 to 1.

    Args:
        relevance: Values in [0, 1], or ``IGNORE``.

    Example:
        >>> encode(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [0, 1, 255]
    """
    step = torch.round(relevance * STEPS) + 1
    return torch.where(relevance >= 0, step, 0).to(torch.uint8)


def decode(stored: Tensor) -> Tensor:
    """Convert bytes of :func:`encode` back to float32 maps, with an error of at most 1/508."""
    relevance = (stored.float() - 1) / STEPS
    return torch.where(stored > 0, relevance, IGNORE)


class MapFile:
    """The relevance maps of all slices in one file, which all processes may read.

    The file is sparse: slices that were never written take no space and are unknown everywhere.
    Rows are read and written one by one instead of through a memory map, so that a full disk raises
    an ``OSError`` instead of a crash, and two machines on a network file system never overwrite
    each other's rows.

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
        """Set path and shape; :meth:`create` makes the file.

        Args:
            folder: Folder of the file.
            shape: Numbers of slices and classes, height and width.
            version: Tells this file from earlier ones in the same folder.
        """
        self.path = folder / f"maps-{version}.bin"
        self.shape = shape
        self.version = version

    def create(self) -> None:
        """Make the file, with all slices unknown; only one process may call this."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with naming(self.path), self.path.open("wb") as file:
            file.truncate(math.prod(self.shape))

    def write(self, index: Tensor, relevance: Tensor) -> None:
        """Store the maps of some slices.

        Args:
            index: Ids of the slices, [B] int64.
            relevance: [B, C, h, w] in [0, 1], or ``IGNORE``.
        """
        rows = encode(relevance).cpu().contiguous().numpy()
        with naming(self.path), self.path.open("r+b", buffering=0) as file:
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
            InputError: The file has no row for an id.
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
        """Return maps like :meth:`lookup`, but ``IGNORE`` for ids that the file has no row for.

        Args:
            index: Ids of the slices, [B] int64, on any device.
        """
        index = index.cpu()
        known = (index >= 0) & (index < self.shape[0])
        maps = torch.full((len(index), *self.shape[1:]), IGNORE)
        maps[known] = self.lookup(index[known])
        return maps

    def pack(self, together: int = PACKED_TOGETHER) -> Tensor:
        """Return the whole file compressed, as a tensor of bytes that fits into a checkpoint.

        All cores compress, each a part at a time, since the other processes wait for the result.

        Args:
            together: Number of bytes of the file that are compressed as one part.
        """
        starts = range(0, math.prod(self.shape), together)
        with (
            self.path.open("rb", buffering=0) as file,
            ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        ):
            packed = bytearray().join(pool.map(partial(_compress, file.fileno(), together), starts))
        return torch.frombuffer(packed or bytearray(1), dtype=torch.uint8)[: len(packed)]

    def unpack(self, packed: Tensor, together: int = PACKED_TOGETHER) -> None:
        """Write the file that :meth:`pack` compressed; only one process may call this.

        Args:
            packed: Return value of :meth:`pack`, [n] uint8.
            together: The same value as :meth:`pack` was called with.
        """
        self.create()
        data, place = packed.numpy().data, 0
        with naming(self.path), self.path.open("r+b") as file:
            while place < len(data):
                # Parts follow each other; one holds at most `together` bytes, and barely grows.
                unpacker, window = zlib.decompressobj(), data[place : place + 2 * together]
                part = unpacker.decompress(window)
                place += len(window) - len(unpacker.unused_data)
                if part.count(0) < len(part):
                    file.write(part)
                else:  # only unknown pixels: the file has zeros there, and stays sparse
                    file.seek(len(part), os.SEEK_CUR)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _compress(descriptor: int, count: int, start: int) -> bytes:
    return zlib.compress(os.pread(descriptor, count, start), level=1)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes: ``os.write`` may write fewer, before it raises that the disk is full."""
    while data:
        data = data[os.write(descriptor, data) :]
