"""Cluster maps on disk: a byte per pixel and class, shared by all processes that see the folder."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsseg.clustering.targets import IGNORE, decode, encode
from wsseg.utils.errors import InputError

PACK_BYTES = 2**24  # how much of the file is compressed at a time


class ClusterMaps:
    """The relevance of every pixel of every slice, as one version of a memory-mapped file.

    The file is sparse: slices that were never written take no room and are unknown everywhere.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int, int], version: int) -> None:
        """Name the file; it must exist before it is written or looked into.

        Args:
            folder: Where it lies.
            shape: Slices, classes, height and width.
            version: Counts the refreshes.
        """
        self.path = folder / f"maps-{version}.bin"
        self.shape = shape
        self.version = version
        self._mapped: np.memmap[tuple[int, ...], np.dtype[np.uint8]] | None = None

    def create(self) -> None:
        """Make the file, with every slice unknown. One process does it for all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            file.truncate(int(np.prod(self.shape)))

    def write(self, index: Tensor, relevance: Tensor) -> None:
        """Store the maps of some slices.

        Rows are written one by one rather than through the memory map, whose whole pages would
        overwrite the neighbouring rows of another machine on a network file system.

        Args:
            index: [B] int64.
            relevance: [B, C, h, w] in [0, 1], or ``IGNORE``.
        """
        rows = encode(relevance).cpu().contiguous().numpy()
        size = int(np.prod(self.shape[1:]))
        with self.path.open("r+b", buffering=0) as file:
            for position, row in zip(index.tolist(), rows, strict=True):
                os.pwrite(file.fileno(), row.tobytes(), position * size)

    def lookup(self, index: Tensor) -> Tensor:
        """Return the maps of some slices.

        Args:
            index: [B] int64, any device.

        Returns:
            [B, C, h, w] float32 on the CPU, in [0, 1] or ``IGNORE``.

        Raises:
            InputError: There is no such slice.
        """
        positions = index.cpu().numpy()
        wrong = (positions < 0) | (positions >= self.shape[0])
        if wrong.any():
            raise InputError(
                f"slice index {positions[wrong][0]} is out of range: there are cluster maps for 0 "
                f"to {self.shape[0] - 1}; `index` must be the slice's id in the training data, and "
                "a callback or checkpoint that has seen other data cannot be used with these slices"
            )
        return decode(torch.from_numpy(self._array()[positions]))

    def lookup_known(self, index: Tensor) -> Tensor:
        """Return the maps of slices as :meth:`lookup` does, ``IGNORE`` if there is no such slice.

        Args:
            index: [B] int64, any device.
        """
        index = index.cpu()
        known = (index >= 0) & (index < self.shape[0])
        found = torch.full((len(index), *self.shape[1:]), IGNORE)
        found[known] = self.lookup(index[known])
        return found

    def pack(self) -> Tensor:
        """Return the whole file compressed, as a tensor that fits into a checkpoint.

        Part by part, since other processes wait meanwhile and one processor packs 100 MB/s.
        """
        content = self._array().reshape(-1)
        parts = (content[start:][:PACK_BYTES] for start in range(0, len(content), PACK_BYTES))
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            packed = bytearray().join(pool.map(partial(zlib.compress, level=1), parts))
        return torch.frombuffer(packed, dtype=torch.uint8)

    def unpack(self, packed: Tensor) -> None:
        """Make the file from :meth:`pack`. One process does it for all."""
        self.create()
        data, place = packed.numpy().data, 0
        with self.path.open("r+b") as file:
            while place < len(data):
                unpacker, window = zlib.decompressobj(), data[place : place + 2 * PACK_BYTES]
                chunk = unpacker.decompress(window)
                place += len(window) - len(unpacker.unused_data)
                if chunk.count(0) < len(chunk):
                    file.write(chunk)
                else:
                    file.seek(len(chunk), os.SEEK_CUR)

    def remove(self) -> None:
        """Delete the file."""
        self._mapped = None
        self.path.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, object]:
        """Leave the memory map behind: another process opens its own."""
        return {**self.__dict__, "_mapped": None}

    def _array(self) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
        if self._mapped is None:
            self._mapped = np.memmap(self.path, np.uint8, mode="r", shape=self.shape)
        return self._mapped
