"""A slice store as training and evaluation read it: its cases, their arrays and its splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.geometry import Geometry
from wsseg.data.readers.header import Header
from wsseg.data.spec import DataSpec
from wsseg.data.splits import SPLITS, check_disjoint
from wsseg.data.store_checks import check_fold, check_manifest
from wsseg.data.store_files import (
    IMAGES,
    MANIFEST,
    SPLITS_FILE,
    VALID,
    ArrayFolder,
    read_json,
)
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class CaseSlices:
    """The slices of one case: their identities, their tags and where they lie.

    Attributes:
        id: Name of the case.
        position: Position of the case in the manifest.
        first_index: Stable id of the case's first slice; the others follow in order.
        tags: One multi-hot row per slice, [S, C] float32; NaN where unknown.
        spacing: Size in mm of a voxel: from one kept slice to the next, then height and width.
        numbers: Number of each slice along the slicing axis of its volume, ascending.
        step: Preparation kept every so many slices, and of these the ones that hold the body.
        source: Hash of the images that the slices were made of.

    Example:
        >>> spacing, tags = (4.0, 1.0, 1.0), torch.tensor([[0.0], [1.0], [1.0]])
        >>> case = CaseSlices("ann", 0, 0, tags, spacing, numbers=(10, 12, 18), step=2)
        >>> case.planes
        (0, 1, 4)
        >>> case.volume(np.array([[True], [True]]), np.array([0, 2])).ravel().tolist()
        [True, False, False, False, True]
    """

    id: str
    position: int
    first_index: int
    tags: Tensor
    spacing: tuple[float, float, float]
    numbers: tuple[int, ...]
    step: int = 1
    source: str = ""

    @property
    def indices(self) -> Tensor:
        """Stable ids of the slices, [S] int64."""
        return self.first_index + torch.arange(len(self.tags))

    @property
    def depth(self) -> Tensor:
        """Where the slices lie along the case, in heights of a pixel, [S] float32."""
        distance, height, _ = self.spacing
        return torch.tensor(self.numbers, dtype=torch.float32) * (distance / height / self.step)

    @property
    def planes(self) -> tuple[int, ...]:
        """Place of each slice on an evenly spaced grid, on which preparation may leave gaps."""
        # Not counted in the smallest gap between slices: where they are few, that is several steps.
        return tuple((number - self.numbers[0]) // self.step for number in self.numbers)

    def volume(self, slices: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Stack slices to a volume on the grid of the case, empty where there is no slice.

        Args:
            slices: [n, ...].
            rows: Which slice of the case each is, [n].

        Returns:
            [Z, ...].
        """
        planes = np.asarray(self.planes)
        volume = np.zeros((planes[-1] + 1, *slices.shape[1:]), bool)
        volume[planes[rows]] = slices
        return volume


class Source(NamedTuple):
    """Where the slices of a case came from.

    Attributes:
        header: Where the voxels of the case's images lie.
        geometry: How its slices lie among these voxels.
    """

    header: Header
    geometry: Geometry


class SliceStore:
    """A prepared store.

    Attributes:
        root: Its folder.
        options: Arguments of ``prepare``, by name.
        spec: What the slices are.
        reasons: Why each entry of the plan is as it is; empty if nobody noted it.
        patients: Whose each case is, by id; without those that are the only one of their patient.
        cases: By id, in the order of the store.
        images: Of each case, [S, M, H, W] float16.
        valid: Of each case, the pixels that hold the body, [S, H, W] bool.

    Example:
        >>> store = SliceStore(Path(getfixture("tiny_store")))
        >>> store.cases["a"].numbers
        (10, 11, 12, 13, 14, 15)
        >>> store.images["a"].shape
        (6, 2, 32, 32)
        >>> [case.id for case in store.split(0)["test"]]
        ['f', 'g']
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest.

        Args:
            root: Folder written by ``wsseg prepare``.

        Raises:
            InputError: There is no store, or one of another version; or it is damaged, as far as
                the manifest and the first bytes of the arrays tell.
        """
        self.root = root
        manifest = read_json(root / MANIFEST)
        check_manifest(root / MANIFEST, manifest)
        self.options: dict[str, Any] = manifest.get("options", {})
        self.spec = DataSpec.from_dict(manifest["spec"])
        self.reasons: dict[str, str] = manifest.get("reasons", {})
        self.cases: dict[str, CaseSlices] = {}
        first = 0
        self.patients = {c["id"]: c["patient"] for c in manifest["cases"] if "patient" in c}
        self._entries = {entry["id"]: entry for entry in manifest["cases"]}
        for position, entry in enumerate(manifest["cases"]):
            case = _case(entry, position, first, self.options.get("slice_step", 1))
            self.cases[case.id] = case
            first += len(case.tags)
        self.images = self.folder(IMAGES, len(self.spec.modalities), kind="float16")
        self.valid = self.folder(VALID)
        for folder in (self.images, self.valid):
            for case_id in self.cases:
                folder.open(case_id)

    def folder(self, name: str, *channels: int, kind: str = "bool") -> ArrayFolder:
        """Return a folder with arrays [S, ..., H, W] of the cases.

        Args:
            name: Its name.
            *channels: Lengths of the axes between that of slices and height and width.
            kind: Name of the arrays' type.
        """
        expected = {
            case.id: ((len(case.tags), *channels, *self.spec.size), kind)
            for case in self.cases.values()
        }
        return ArrayFolder(self.root / name, expected=expected)

    def source(self, case: CaseSlices) -> Source:
        """Return where the slices of a case came from.

        Args:
            case: One of ``cases``.

        Raises:
            InputError: The store does not say that, or its manifest is damaged.
        """
        entry, path = self._entries[case.id], self.root / MANIFEST
        if "source" not in entry:
            raise InputError(
                f"{path}: does not say where the voxels of case {case.id} lie, since an earlier "
                "version of wsseg wrote it; remove the store and prepare it again"
            )
        try:
            geometry = Geometry.from_dict(entry["geometry"])
            affine = np.array(entry["source"]["affine"], np.float64).reshape(4, 4)
            return Source(Header(geometry.shape, affine, unit=entry["source"]["unit"]), geometry)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: is damaged (where the voxels of case {case.id} lie: {error!r}); prepare "
                "the store again"
            ) from None

    def split(self, fold: int) -> dict[str, list[CaseSlices]]:
        """Return the cases of a fold by split.

        Args:
            fold: Number of the fold.

        Raises:
            InputError: There is no such fold, a case is in two splits, or is not in the store.
        """
        path = self.root / SPLITS_FILE
        splits = read_json(path)
        check_fold(path, splits, fold)
        folds = splits["folds"]
        check_disjoint(str(path), fold, folds[fold], self.patients)
        for case in (name for split in SPLITS for name in folds[fold][split]):
            if case not in self.cases:
                raise InputError(f"{path}: case {case} is not in the store; prepare it again")
        return {name: [self.cases[i] for i in folds[fold][name]] for name in SPLITS}


def _case(entry: dict[str, Any], position: int, first_index: int, step: int) -> CaseSlices:
    """Return a case from its entry in the manifest."""
    distance, height, width = (float(size) for size in entry["spacing"])
    return CaseSlices(
        entry["id"],
        position,
        first_index,
        torch.from_numpy(np.array(entry["tags"], np.float32)),  # null becomes NaN
        (distance, height, width),
        tuple(entry["positions"]),
        step,
        # One hash of all images, from that of each by modality.
        hashlib.sha256(" ".join(sorted(entry["content"].values())).encode()).hexdigest(),
    )
