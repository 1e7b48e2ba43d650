"""BraTS folders: one NIfTI file per modality, under the names of 2018-2021 or of 2023 on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    choose_modalities,
    pick_images,
    sorted_cases,
)
from wsseg.utils.errors import InputError, attempt, partition

BRATS_MODALITIES = ("T1", "T1ce", "T2", "FLAIR")
BRATS_ENDINGS = {
    "_t1": "T1",
    "_t1ce": "T1ce",
    "_t2": "T2",
    "_flair": "FLAIR",
    "_seg": "mask",
    "-t1n": "T1",
    "-t1c": "T1ce",
    "-t2w": "T2",
    "-t2f": "FLAIR",
    "-seg": "mask",
}
BRATS_FILE = re.compile(
    rf"(?P<case>.+)(?P<ending>{'|'.join(BRATS_ENDINGS)})\.nii(\.gz)?", re.IGNORECASE
)
BRATS_LABELS = (0, 1, 2, 3, 4)
BRATS_DEPTH = 3  # source/HGG/case/file
BRATS_EXAMPLE = "files such as <case>/<case>_t1.nii.gz or <case>/<case>-t1n.nii.gz"


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Find the cases of a BraTS folder.

    Cases may lie in folders of their own, below ``HGG`` and ``LGG``, or all in one folder;
    ``source`` may also be the folder of a single case.

    Args:
        source: The folder.
        modalities: Names out of T1, T1ce, T2 and FLAIR in the order of the channels; by default
            all four.

    Returns:
        The cases, and which lack a modality. The default class ``tumour`` is made of all labels.

    Raises:
        InputError: There is no case, or two have the same name.
    """
    chosen = choose_modalities(source, modalities, BRATS_MODALITIES)
    groups: dict[tuple[Path, str], dict[str, ImageFile]] = {}
    for path, case, kind in matching_files(source):
        group = groups.setdefault((path.parent, case), {})
        if kind in group:
            raise InputError(
                f"{path}: case {case} already has {group[kind].path.name} for the same image; "
                "remove one"
            )
        group[kind] = ImageFile(path)
    made = (attempt(_case, *place, group, chosen) for place, group in groups.items())
    cases, faults = partition(made)
    found = sorted_cases(source, cases, BRATS_EXAMPLE, faults)
    return CaseList(
        chosen, {"tumour": BRATS_LABELS[1:]}, frozenset(BRATS_LABELS), found, tuple(faults)
    )


def matching_files(source: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the files with a BraTS name, at most three levels down.

    Args:
        source: The folder.

    Yields:
        The file, the name of its case, and its modality or ``mask``.
    """
    for path in sorted(_walk(source, BRATS_DEPTH)):
        match = BRATS_FILE.fullmatch(path.name)
        if match:
            yield path, match["case"], BRATS_ENDINGS[match["ending"].lower()]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if depth > 1:
                yield from _walk(path, depth - 1)
        else:
            yield path


def _case(
    folder: Path, name: str, group: dict[str, ImageFile], modalities: tuple[str, ...]
) -> CaseFiles:
    images = {kind: file for kind, file in group.items() if kind != "mask"}
    mask = group["mask"].path if "mask" in group else None
    return CaseFiles(name, pick_images(name, folder, images, modalities), mask)
