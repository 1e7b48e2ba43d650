"""Layouts: how the files of a data set are named and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from wsseg.data.layouts import brats, datalist, decathlon, folders, lgg, table
from wsseg.data.layouts.cases import CaseFiles, CaseList, ImageFile
from wsseg.utils.errors import InputError

__all__ = ["LAYOUTS", "CaseFiles", "CaseList", "ImageFile", "detect", "find_cases"]

LAYOUTS: dict[str, Callable[[Path, Sequence[str] | None], CaseList]] = {
    "table": table.find_cases,
    "folders": folders.find_cases,
    "brats": brats.find_cases,
    "decathlon": decathlon.find_cases,
    "lgg": lgg.find_cases,
    "datalist": datalist.find_cases,
}


def find_cases(layout: str, source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Find the cases of a source.

    Args:
        layout: Name of the layout.
        source: Folder, table or datalist file.
        modalities: Names in the order of the channels; by default all that the layout has.

    Raises:
        InputError: The layout is unknown, the source does not exist or does not follow it.
    """
    if layout not in LAYOUTS:
        raise InputError(f"{layout}: unknown layout; choose from {', '.join(LAYOUTS)}")
    if not source.exists():
        raise InputError(
            f"{source}: does not exist; give the folder of the cases, or the file that lists them"
        )
    return LAYOUTS[layout](source, modalities)


def detect(path: Path) -> str:
    """Find out which layout a folder or file follows.

    Args:
        path: Folder of one case or of many, or a file that describes them.

    Returns:
        Name of the layout.

    Raises:
        InputError: It follows none.
    """
    if path.is_file() and path.suffix.lower() in (".json", ".yaml", ".yml"):
        return "decathlon" if path.name == decathlon.DESCRIPTION else "datalist"
    if path.is_file() and path.suffix.lower() in table.SUFFIXES:
        return "table"
    if (path / decathlon.DESCRIPTION).is_file():
        return "decathlon"
    if next(brats.matching_files(path), None):
        return "brats"
    if next(lgg.case_folders(path), None):
        return "lgg"
    if path.is_dir() and (path.parent / decathlon.DESCRIPTION).is_file():
        return "decathlon"
    if folders.follows(path):
        return "folders"
    problem = "follows no known layout" if path.exists() else "does not exist"
    raise InputError(
        f"{path}: {problem}; give a table or a datalist, a folder of one folder for each class, or "
        "a BraTS, Decathlon or TCGA-LGG folder"
    )
