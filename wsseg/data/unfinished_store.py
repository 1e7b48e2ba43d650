"""A slice store while it is made: beside its place, and moved there when it is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wsseg.data.splits import Fold
from wsseg.data.store_files import IMAGES, MANIFEST, SPLITS_FILE, VALID, ArrayFolder
from wsseg.utils.errors import InputError
from wsseg.utils.files import lock, write_text

MASKS, RECORDS = "masks", "records"
Record = dict[str, Any]


class UnfinishedStore:
    """The arrays and records of cases on their way into a store.

    A record says what was written of a case, and from what. A later run goes on with the cases that
    have one, so it is written after the arrays of its case and removed before they change.

    Attributes:
        out: Where the store will be.
        images: Of each case, [S, M, H, W] float16.
        valid: Of each case, the pixels that hold the body, [S, H, W] bool.
        masks: Of each case that has any, [S, C, H, W] bool.
    """

    def __init__(self, out: Path) -> None:
        """Name the place; nothing is written yet.

        Args:
            out: Folder of the store to be.
        """
        self.out = out
        self.folder = out.with_name(f".{out.name}.part")
        self.images = ArrayFolder(self.folder / IMAGES)
        self.valid = ArrayFolder(self.folder / VALID)
        self.masks = ArrayFolder(self.folder / MASKS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from making the same store.

        Raises:
            InputError: Another process makes it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock(self.folder, wait=False) as ours:
            if not ours:
                raise InputError(
                    f"{self.out}: another process is preparing it; wait until it is done"
                )
            (self.folder / MANIFEST).unlink(missing_ok=True)  # it is not complete any more
            try:
                yield
            finally:
                with suppress(OSError):  # only an empty folder can be removed
                    self.folder.rmdir()

    def read_record(self, case: str) -> Record:
        """Return what is known of the arrays of a case; nothing if they are not all there."""
        path = self._record(case)
        record: Record = json.loads(path.read_text()) if path.is_file() else {}
        return record

    def write_record(self, case: str, record: Record) -> None:
        """Say that the arrays of a case are all there."""
        write_text(self._record(case), json.dumps(record) + "\n")

    def remove_record(self, case: str) -> None:
        """Say that the arrays of a case are about to change."""
        self._record(case).unlink(missing_ok=True)

    def complete(self, manifest: dict[str, Any], folds: list[Fold], seed: int) -> None:
        """Make a store of the folder, without what belongs to no case, and put it in its place.

        Args:
            manifest: What the slices are, and the cases.
            folds: For each fold, names of cases by split.
            seed: Seed of the folds.
        """
        names = {case["id"] for case in manifest["cases"]}
        for arrays in (self.images, self.valid, self.masks):
            arrays.keep_only(names)
        splits = {"seed": seed, "folds": folds}
        write_text(self.folder / SPLITS_FILE, json.dumps(splits) + "\n")
        write_text(self.folder / MANIFEST, json.dumps(manifest) + "\n")  # last: it is complete
        self._move()

    def finish_move(self) -> None:
        """Put a complete store in its place that an interrupted process has left beside it."""
        if (self.folder / MANIFEST).is_file() and not self.out.exists():
            with lock(self.folder, wait=False) as ours:
                if ours:
                    self._move()

    def _move(self) -> None:
        old = self.out.with_name(f".{self.out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.out.exists():
            self.out.rename(old)
        self.folder.rename(self.out)
        shutil.rmtree(self.out / RECORDS, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)

    def _record(self, case: str) -> Path:
        return self.folder / RECORDS / f"{case}.json"
