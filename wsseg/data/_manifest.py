"""Reads the manifest and the splits of a slice store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from wsseg.data.dataset import CaseSlices
from wsseg.data.spec import DataSpec
from wsseg.errors import InputError


class SliceStore:
    """A prepared store: its specification, its cases and its splits."""

    def __init__(self, root: Path) -> None:
        """Read the manifest."""
        self.root = root
        manifest = self._read("manifest.json")
        self.spec = DataSpec.from_dict(manifest["spec"])
        self.cases: dict[str, CaseSlices] = {}
        first = 0
        for position, case in enumerate(manifest["cases"]):
            tags = torch.tensor(case["tags"], dtype=torch.float32)
            self.cases[case["id"]] = CaseSlices(case["id"], position, first, tags)
            first += len(tags)

    def split(self, fold: int) -> dict[str, list[CaseSlices]]:
        """Return the cases of a fold by split."""
        folds = self._read("splits.json")["folds"]
        if not 0 <= fold < len(folds):
            raise InputError(
                f"{self.root}: has no fold {fold}; give --data.fold 0 to {len(folds) - 1}"
            )
        return {name: [self.cases[i] for i in ids] for name, ids in folds[fold].items()}

    def _read(self, name: str) -> Any:
        path = self.root / name
        if not path.is_file():
            raise InputError(f"{path}: is missing; make the slice store with `wsseg prepare`")
        return json.loads(path.read_text())
