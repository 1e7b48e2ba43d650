"""On which grid the slices of a store's cases lie, read from its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsseg.data.store import read_json


@dataclass(frozen=True)
class CaseGrid:
    """The grid of one case.

    Attributes:
        id: Name of the case.
        spacing: Voxel size in mm: between slices, then in plane.
        first_index: Stable id of the case's first slice; the others follow in order.
        planes: For each slice, its place on an evenly spaced grid. Places are left out where
            preparation dropped a slice in between.
    """

    id: str
    spacing: tuple[float, float, float]
    first_index: int
    planes: tuple[int, ...]

    def volume(self, slices: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Stack slices to a volume, empty where there is no slice.

        Args:
            slices: [n, ...].
            rows: Which slice of the case each is, [n].

        Returns:
            [Z, ...].
        """
        volume = np.zeros((self.planes[-1] + 1, *slices.shape[1:]), bool)
        volume[np.asarray(self.planes)[rows]] = slices
        return volume


def read_grids(root: Path) -> list[CaseGrid]:
    """Read the grids of all cases, in manifest order.

    Args:
        root: The slice store.

    Raises:
        InputError: There is no manifest, or it is damaged.
    """
    manifest = read_json(root / "manifest.json")
    # Not the smallest gap between slices: where they are few, that may be several steps.
    step = manifest.get("options", {}).get("slice_step", 1)
    grids: list[CaseGrid] = []
    first = 0
    for case in manifest["cases"]:
        z, y, x = (float(size) for size in case["spacing"])
        positions = case["positions"]
        planes = tuple((position - positions[0]) // step for position in positions)
        grids.append(CaseGrid(case["id"], (z, y, x), first, planes))
        first += len(planes)
    return grids
