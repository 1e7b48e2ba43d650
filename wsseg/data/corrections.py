"""Masks that a person has corrected, on the slices of the training cases that they belong to.

They are files that the user names. The masks that the store holds for scores stay out of reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wsseg.data.dataset import SliceDataset
from wsseg.data.file_checks import grid_problem
from wsseg.data.labels import PREDICTED_MASKS, SLICER_FILE, meanings
from wsseg.data.readers import images_below, stem
from wsseg.data.slicing import mask_to_slices
from wsseg.data.spec import Batch
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.data.volumes import class_masks, known_labels, read_mask, with_label
from wsseg.utils.errors import InputError, attempt, results
from wsseg.utils.targets import IGNORE

KEPT_FOR = {"val": "validation", "test": "testing"}


class CorrectedSliceDataset(SliceDataset):
    """A :class:`SliceDataset` whose batches also hold ``corrected`` [B, C, H, W].

    It is 1 where a person has drawn the class and 0 where they have not, -1 in all slices that
    nobody has corrected. The tags of corrected slices are what has been drawn there.
    """

    def __init__(
        self, store: SliceStore, cases: Sequence[CaseSlices], masks: Mapping[str, Tensor]
    ) -> None:
        """Lay out the slices of the given cases one after the other.

        Args:
            store: The slice store.
            cases: The cases of the split.
            masks: Corrected masks of some of them by their id, [S, C, H, W] bool.
        """
        super().__init__(store, cases)
        self.masks = masks
        self.plane = (len(store.spec.classes), *store.spec.size)
        for position, case in enumerate(self.cases):
            if case.id in masks:
                drawn = masks[case.id].flatten(2).any(dim=2)
                self.tags[torch.from_numpy(self._case == position)] = drawn.float()

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the batch made of the given items, with what has been corrected."""
        batch = super().__getitems__(items)
        corrected = torch.full((len(items), *self.plane), IGNORE)
        for row, (case, number) in enumerate(self.places(items)):
            if case.id in self.masks:
                corrected[row] = self.masks[case.id][number]
        batch["corrected"] = corrected
        return batch


def find_corrections(folder: Path, store: SliceStore, fold: int) -> dict[str, Path]:
    """Find the corrected masks of training cases.

    Args:
        folder: Folder of masks that are named as ``wsseg predict`` names them, ``ID.nii.gz`` or
            ``ID.png``; any other format of images will do.
        store: What is trained on.
        fold: Which of its splits is trained on.

    Returns:
        Files by the id of their case.

    Raises:
        InputError: There is none, the folder also holds masks that nobody corrected, or a file
            belongs to no training case.
    """
    where = f"--data.corrections {folder}"
    if not folder.is_dir():
        raise InputError(f"{where}: is no folder; give a folder with the corrected masks")
    place = folder.resolve()
    if place.name == PREDICTED_MASKS and (place.parent / SLICER_FILE).is_file():
        raise InputError(
            f"{where}: is a folder of predictions, in which every mask would be taken for a "
            "corrected one; copy the masks that were corrected into a folder of their own"
        )
    paths = images_below(folder)
    if not paths:
        raise InputError(f"{where}: holds no mask; put the corrected masks there, as ID.nii.gz")
    found: dict[str, Path] = {}
    for case, path in results(attempt(_case_of, folder, path, store, fold) for path in paths):
        if found.setdefault(case, path) is not path:
            raise InputError(
                f"{path}: is the second mask of case {case}, after {found[case].name}; remove one"
            )
    return found


def read_corrections(found: Mapping[str, Path], store: SliceStore) -> dict[str, Tensor]:
    """Read all corrected masks; see :func:`read_correction`.

    Args:
        found: Files by the id of their case.
        store: The store that holds the slices.
    """
    masks = results(
        attempt(read_correction, path, store.cases[case], store) for case, path in found.items()
    )
    return dict(zip(found, masks, strict=True))


def read_correction(path: Path, case: CaseSlices, store: SliceStore) -> Tensor:
    """Read the corrected mask of a case, and cut it as preparation cut the images.

    Args:
        path: The file. It has the data set's own labels, or those of predicted masks.
        case: The case.
        store: The store that holds its slices.

    Returns:
        Where each class is in each slice, [S, C, H, W] bool.

    Raises:
        InputError: The file cannot be read, lies elsewhere than the images or holds unknown labels.
    """
    source, classes = store.source(case), meanings(store.spec.classes)
    labels = {0}.union(*classes.values())
    header, volume = read_mask(path, case.id)
    if problem := grid_problem(header, source.header, "its images"):
        raise InputError(
            f"{path} (case {case.id}): {problem}; save the mask on the voxels of the predicted one"
        )
    if source.header.is_picture:
        tagged = (case.tags > 0.5).any(dim=0).tolist()
        shown = (each for each, tag in zip(store.spec.classes.values(), tagged, strict=True) if tag)
        volume = with_label(volume, labels, {label for each in shown for label in each})
    what, advice = f"{path}: corrected mask of case {case.id}", "correct the mask"
    masks = class_masks(known_labels(volume, labels, what, advice), classes)
    return torch.from_numpy(mask_to_slices(masks, source.geometry)[list(case.numbers)])


def _case_of(folder: Path, path: Path, store: SliceStore, fold: int) -> tuple[str, Path]:
    name = (path.relative_to(folder).parent / stem(path)).as_posix()
    root, splits = store.root, store.split(fold)
    training = [case.id for case in splits["train"]]
    if name in training:
        return name, path
    for split, purpose in KEPT_FOR.items():
        if name in {case.id for case in splits[split]}:
            raise InputError(
                f"{path}: case {name} is kept for {purpose} in fold {fold} of {root}, so "
                "nothing may be learned from its mask; remove the file, or give another --data.fold"
            )
    if name in store.cases:
        raise InputError(
            f"{path}: case {name} is in no split of fold {fold} of {root}; remove the file"
        )
    raise InputError(
        f"{path}: no case of {root} is called {name}; name the mask by its training case, such as "
        f"{training[0]}"
    )
