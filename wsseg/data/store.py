"""Reads the manifest and the splits of a slice store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from wsseg.data.dataset import CaseSlices
from wsseg.data.spec import FORMAT, DataSpec
from wsseg.data.splits import SPLITS, check_disjoint
from wsseg.utils.errors import InputError


class SliceStore:
    """A prepared store: its specification, its cases, its splits and the options it was made with.

    Attributes:
        root: Its folder.
        options: Arguments of ``prepare``, by name.
        spec: What the slices are.
        cases: By id, in the order of the store.
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest.

        Args:
            root: Folder written by ``wsseg prepare``.

        Raises:
            InputError: There is no store, or one of another version.
        """
        self.root = root
        manifest = read_json(root / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise InputError(
                f"{root}: has store format {manifest.get('format')}, but this version of wsseg "
                f"reads {FORMAT}; prepare it again"
            )
        self.options: dict[str, Any] = manifest.get("options", {})
        self.spec = DataSpec.from_dict(manifest["spec"])
        self.cases: dict[str, CaseSlices] = {}
        self._patients = {c["id"]: c["patient"] for c in manifest["cases"] if "patient" in c}
        first = 0
        for position, case in enumerate(manifest["cases"]):
            tags = torch.tensor(case["tags"], dtype=torch.float32)
            distance, height, _ = case["spacing"]  # of slices of which one in so many was kept
            step = distance / height / self.options.get("slice_step", 1)
            depth = torch.tensor(case["positions"], dtype=torch.float32) * step
            self.cases[case["id"]] = CaseSlices(
                case["id"],
                position,
                first,
                tags,
                depth,
                _hash_images(case["content"]),
                tuple(case["positions"]),
            )
            first += len(tags)

    def split(self, fold: int) -> dict[str, list[CaseSlices]]:
        """Return the cases of a fold by split.

        Args:
            fold: Number of the fold.

        Raises:
            InputError: There is no such fold, a case is in two splits, or is not in the store.
        """
        path = self.root / "splits.json"
        folds = read_json(path)["folds"]
        if not 0 <= fold < len(folds):
            raise InputError(
                f"{self.root}: has no fold {fold}; give --data.fold 0 to {len(folds) - 1}"
            )
        if lacking := [name for name in SPLITS if name not in folds[fold]]:
            raise InputError(f"{path}: fold {fold} has no `{lacking[0]}`; add it, a list of cases")
        check_disjoint(str(path), fold, folds[fold], self._patients)
        for case in (name for split in SPLITS for name in folds[fold][split]):
            if case not in self.cases:
                raise InputError(f"{path}: case {case} is not in the store; prepare it again")
        return {name: [self.cases[i] for i in folds[fold][name]] for name in SPLITS}


def _hash_images(content: dict[str, str]) -> str:
    """Return one hash of a case's images, from that of each by modality."""
    return hashlib.sha256(" ".join(sorted(content.values())).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a file of a store.

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
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); prepare the store again") from None
