"""The TCGA-LGG slices: folders of RGB TIFF images with a mask beside each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    choose_modalities,
    sorted_cases,
)

LGG_MODALITIES = ("T1", "FLAIR", "T1ce")  # red, green and blue
LGG_FILE = re.compile(r"(?P<case>[^.].*)_(?P<number>\d+)\.tiff?", re.IGNORECASE)
LGG_EXAMPLE = "files such as <case>/<case>_1.tif and <case>/<case>_1_mask.tif"


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Find the cases of a TCGA-LGG folder.

    Args:
        source: The folder of all cases, or of one. The path of an image is the folder of its
            case.
        modalities: Names out of T1, FLAIR and T1ce in the order of the channels; by default all.

    Returns:
        The cases. Mask pixels have the label 1.

    Raises:
        InputError: There is no case, or two have the same name.
    """
    chosen = choose_modalities(source, modalities, LGG_MODALITIES)
    cases = (_case(folder, name, chosen) for folder, name in case_folders(source))
    found = sorted_cases(source, cases, LGG_EXAMPLE)
    return CaseList(chosen, {"tumour": (1,)}, frozenset((0, 1)), found)


def case_folders(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield each folder that holds slices, at most two levels down, and the name of its case."""
    folders = [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        match = next((match for match in map(LGG_FILE.fullmatch, names) if match), None)
        if match:
            yield folder, match["case"]


def slice_files(folder: Path) -> list[tuple[int, Path]]:
    """Return the slices of a case with their numbers, in ascending order."""
    matches = [(LGG_FILE.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match["number"]), path) for match, path in matches if match)


def mask_file(path: Path) -> Path:
    """Return where the mask of a slice belongs."""
    return path.with_name(f"{path.stem}_mask{path.suffix}")


def _case(folder: Path, name: str, modalities: tuple[str, ...]) -> CaseFiles:
    images = {m: ImageFile(folder, LGG_MODALITIES.index(m)) for m in modalities}
    has_mask = any(mask_file(path).is_file() for _, path in slice_files(folder))
    return CaseFiles(name, images, folder if has_mask else None)
