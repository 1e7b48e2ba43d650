"""The files of a slice store: their names, and the arrays of its cases.

A store is a folder::

    manifest.json    what the slices are, and the cases with their tags
    splits.json      which cases train, validate and test, in each fold
    images/<case>.npy   [S, M, H, W] float16, 0 outside the body
    valid/<case>.npy    [S, H, W] bool, the pixels that hold the body

What only evaluation reads lies beside these, under a name that this module does not know.
"""

from __future__ import annotations

import json
import resource
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wsseg.utils.errors import InputError
from wsseg.utils.files import replacing

IMAGES, VALID = "images", "valid"
MANIFEST, SPLITS_FILE = "manifest.json", "splits.json"
# What numpy raises for headers that are damaged: it parses them as Python.
UNREADABLE = (
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    OverflowError,
    RecursionError,
    TokenError,
)
MOST_OPEN_ARRAYS = 2**15  # Linux allows a process some 65,000 memory maps; half are left to others


ArrayKind = tuple[tuple[int, ...], str]  # shape, and name of the type


class ArrayFolder:
    """The arrays ``<case>.npy`` of one folder, read only as far as they are looked at.

    The arrays that were used last, of all folders, stay open as memory maps: opening one takes 70
    times as long as looking it up (measured once, on a local disk).

    Example:
        >>> import tempfile
        >>> folder = ArrayFolder(Path(tempfile.mkdtemp()))
        >>> folder.write("ann", np.arange(6).reshape(2, 3))
        >>> "ann" in folder, "ben" in folder
        (True, False)
        >>> folder["ann"][1].tolist()
        [3, 4, 5]
    """

    _open: ClassVar[OrderedDict[tuple[int, str], NDArray[Any]]] = OrderedDict()

    def __init__(
        self,
        folder: Path,
        most_open: int | None = None,
        expected: Mapping[str, ArrayKind] | None = None,
    ) -> None:
        """Name the folder; nothing is opened yet.

        Args:
            folder: Folder that holds one array file per case; it need not exist.
            most_open: How many arrays of all folders together stay open when one of this folder
                is opened; by default as many as half of the process's file descriptors allow.
            expected: Shape and type that the arrays of cases must have, where that is known.
        """
        self.folder = folder
        self.expected = expected or {}
        self.most_open = most_open or _most_open()
        weakref.finalize(self, self._close, id(self))

    def __contains__(self, case: str) -> bool:
        """Tell whether there is an array of a case."""
        return self._path(case).is_file()

    def __getitem__(self, case: str) -> NDArray[Any]:
        """Return the array of a case.

        Raises:
            InputError: The file is missing or is not an array.
        """
        key = (id(self), case)
        array = self._open.get(key)
        if array is None:
            array = self._open[key] = self.open(case)
            while len(self._open) > self.most_open:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        return array

    def open(self, case: str) -> NDArray[Any]:
        """Map the array of a case, without keeping it open; only its first bytes are read.

        Args:
            case: Name of the case.

        Raises:
            InputError: The file is missing, is not an array, or is of another shape or type.
        """
        path, expected = self._path(case), self.expected.get(case)
        array = _map_array(path)
        if expected and (array.shape, array.dtype.name) != expected:
            raise InputError(
                f"{path}: holds {array.shape} {array.dtype}, but {expected[0]} {expected[1]} "
                "belong there; prepare the store again"
            )
        return array

    def write(self, case: str, array: NDArray[Any]) -> None:
        """Write the array of a case, whole or not at all; an earlier one is replaced."""
        with replacing(self._path(case)) as part:
            np.save(part, array)
        self._open.pop((id(self), case), None)

    def remove(self, case: str) -> None:
        """Delete the array of a case, if there is one."""
        self._open.pop((id(self), case), None)
        self._path(case).unlink(missing_ok=True)

    def keep_only(self, cases: set[str]) -> None:
        """Delete all files of the folder but the arrays of these cases."""
        names = {f"{case}.npy" for case in cases}
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in names:
                path.unlink()

    def __reduce__(self) -> tuple[type[ArrayFolder], tuple[Any, ...]]:
        """Leave the memory maps behind: another process opens its own."""
        return type(self), (self.folder, self.most_open, self.expected)

    def _path(self, case: str) -> Path:
        return self.folder / f"{case}.npy"

    @classmethod
    def _close(cls, number: int) -> None:
        """Close the arrays of a folder that is not in use any more."""
        for key in [*cls._open]:
            if key[0] == number:
                cls._open.pop(key, None)


def read_json(path: Path) -> Any:
    """Read the manifest or the splits of a store.

    Args:
        path: The file.

    Raises:
        InputError: It is missing or damaged.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: does not exist; give the slice store with --data.root, or make one with "
            "`wsseg prepare`"
        )
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); prepare the store again") from None


def _most_open() -> int:
    """Return how many memory maps may stay open; each holds one of the file descriptors."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = allowed == resource.RLIM_INFINITY
    return MOST_OPEN_ARRAYS if unlimited else min(MOST_OPEN_ARRAYS, allowed // 2)


def _map_array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise InputError(
            f"{path}: the slice store lacks this file; prepare the store again"
        ) from None
    except UNREADABLE as error:
        raise InputError(
            f"{path}: is not a readable array ({error}); prepare the store again"
        ) from None
    return array
