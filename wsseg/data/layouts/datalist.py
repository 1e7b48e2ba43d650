"""Anyone's volumes, listed in a JSON or YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from reprlib import repr  # noqa: A004 (which shortens what is long)
from typing import Any

from wsseg.data.case_ids import check_id
from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    choose_modalities,
    pick_images,
    sorted_cases,
)
from wsseg.data.tags import SliceTags
from wsseg.utils.documents import read_document
from wsseg.utils.errors import InputError, attempt, partition

DATALIST_EXAMPLE = "entries under `cases`"
ENTRIES = ("modalities", "classes", "labels", "cases")
CASE_ENTRIES = ("id", "patient", "images", "mask", "tags")


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Read the cases that a datalist names.

    The file holds ``modalities`` (names in channel order), ``classes`` (for each class the mask
    labels that make it), optionally ``labels`` (further labels that masks may hold), and ``cases``:
    each has an ``id``, ``images`` (a path per modality), and optionally ``patient`` (a name that
    cases of one patient share, so that no split separates them), ``mask`` (a label volume) and
    ``tags``: a table with the column ``slice``, the slice number along the slicing axis of the
    volume in RAS orientation, from 0 at its left, posterior or inferior end, and a column of 0 and
    1 for each class; or for each class 0, 1, or a list of slices such as ``[12-40, 55]``. Paths are
    relative to the file. ``mask`` and ``tags`` may both be absent for prediction.

    Args:
        source: The file.
        modalities: Names in the order of the channels; by default those of the file.

    Raises:
        InputError: The file cannot be read, or is not as described.
    """
    content = read_document(source)
    known = content.get("modalities")
    entries = content.get("cases")
    if unknown := set(content) - set(ENTRIES):
        raise InputError(
            f"{source}: unknown entry `{min(map(str, unknown))}`; known are {', '.join(ENTRIES)}"
        )
    if not isinstance(known, list) or not known or not isinstance(entries, list):
        raise InputError(
            f"{source}: is not a datalist; it needs the lists `modalities` and `cases`"
        )
    chosen = choose_modalities(source, modalities, [str(name) for name in known])
    classes = _classes(source, content)
    made = (attempt(_case, source, n, entry, chosen, classes) for n, entry in enumerate(entries))
    cases, faults = partition(made)
    found = sorted_cases(source, cases, DATALIST_EXAMPLE, faults)
    labels = {label for values in classes.values() for label in values}
    labels |= _labels(source, "`labels`", content.get("labels", []))
    return CaseList(chosen, classes, frozenset(labels | {0}), found, tuple(faults))


def _classes(source: Path, content: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    classes = content.get("classes", {})
    if not isinstance(classes, dict):
        raise InputError(f'{source}: `classes` must look like {{"tumour": [1]}}; correct it')
    return {
        str(name): tuple(sorted(_labels(source, f"class {name}", values)))
        for name, values in classes.items()
    }


def _labels(source: Path, what: str, values: Any) -> set[int]:
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise InputError(f"{source}: {what} is {repr(values)}; give a list of whole numbers")
    return set(values)


def _case(
    source: Path,
    number: int,
    entry: Any,
    modalities: tuple[str, ...],
    classes: dict[str, tuple[int, ...]],
) -> CaseFiles:
    if (
        not isinstance(entry, dict)
        or entry.get("id") is None
        or not isinstance(entry.get("images"), dict)
    ):
        raise InputError(f"{source}: case number {number + 1} needs `id` and `images`; add them")
    name = entry["id"]
    if not isinstance(name, str):  # YAML reads 010 as the number 8
        raise InputError(
            f"{source}: id of case number {number + 1} is read as {repr(name)}; quote the id"
        )
    check_id(source, name)
    if unknown := set(entry) - set(CASE_ENTRIES):
        raise InputError(
            f"{source}: case {name} has an unknown entry `{min(map(str, unknown))}`; "
            f"known are {', '.join(CASE_ENTRIES)}"
        )
    images = {
        str(n): ImageFile(_path(source, name, f"image {n}", p)) for n, p in entry["images"].items()
    }
    given = {key: value for key, value in entry.items() if value not in (None, "")}
    mask = _path(source, name, "mask", given["mask"]) if "mask" in given else None
    tags = _tags(source, name, classes, given["tags"]) if "tags" in given else None
    chosen = pick_images(name, source, images, modalities)
    return CaseFiles(name, chosen, mask, tags, _patient(source, name, entry.get("patient")))


def _tags(
    source: Path, case: str, classes: dict[str, tuple[int, ...]], value: Any
) -> Path | SliceTags:
    if not isinstance(value, dict):
        return _path(source, case, "tags", value)
    cells = {str(name): _cell(cell) for name, cell in value.items()}
    labels = {name: labels for name, labels in classes.items() if name in cells}
    return SliceTags(f"{source}: tags of case {case}", cells, labels)


def _cell(value: Any) -> str:
    """Return a tag as a table would have it: lists of slices, such as [12-40, 55], are ranges."""
    if not isinstance(value, list):
        return "" if value is None else str(value)
    return ";".join(f"{n}-{n}" if type(n) is int else str(n) for n in value) or "0"


def _patient(source: Path, case: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(f"{source}: patient of case {case} is {repr(value)}; quote its name")
    return value


def _path(source: Path, case: str, what: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise InputError(
            f"{source}: {what} of case {case} is {repr(value)}; give the path of a file"
        )
    return source.parent / value
