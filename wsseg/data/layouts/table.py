"""One table for all cases: a line for each, with its files and its tags."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from os.path import commonprefix
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from wsseg.data.case_ids import check_id
from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    MaskFile,
    choose_modalities,
    pick_images,
    sorted_cases,
    with_empty_masks,
)
from wsseg.data.layouts.channels import channels_of
from wsseg.data.readers import stem
from wsseg.data.tables import Table, read_table
from wsseg.data.tags import SliceTags, is_tag
from wsseg.utils.errors import InputError, attempt, partition

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
TABLE_EXAMPLE = "a line for each image"
IMAGE, MASK, PATIENT, ID, TAG, UNUSED = "image", "mask", "patient", "id", "tag", ""
KNOWN = re.compile(rf"({IMAGE}|{MASK})(?:\s*:\s*(.+))?|({ID})", re.IGNORECASE)
PATIENTS = re.compile(r"(patient|subject)([\s_-]*id)?|pid", re.IGNORECASE)
LIKE_PATIENTS = re.compile(r"patient|subject", re.IGNORECASE)
END_OF_PART = re.compile(r"[\s/._#-]+[^\s/._#-]*$")

Channels = Mapping[str, int | None]
Labels = dict[str, tuple[int, ...]]


class _Line(NamedTuple):
    """A line of the table.

    Attributes:
        place: Where it stands, for messages.
        cells: By kind and name of the column: modality of an image, class of a mask or tag; ""
            where the kind has but one column. Empty cells are left out, but not those of tags.
    """

    place: str
    cells: dict[str, dict[str, str]]

    def lone(self, kind: str) -> str | None:
        """Return the cell of the only column of a kind, if it is not empty."""
        return self.cells[kind].get("")


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Read the cases of a table.

    The columns are ``image`` (or one for each modality, such as ``image:FLAIR`` and ``image:T1``),
    and optionally ``mask`` (a file of labels; or ``mask:CLASS``, a file for each class),
    ``patient``, ``id``, and one for each class, with 0 or 1 or the slices of a volume that show it,
    such as ``12-40;55``. The column of patients may also be called ``patient_id``, ``subject``,
    ``subject_id`` or ``pid``; capital letters make no other patient. Paths are relative to the
    table. A column is a class if more than half of
    its cells that are not empty are tags; a warning names those that are not used.

    Args:
        source: Text with commas, semicolons or tabs, or an Excel workbook.
        modalities: Names in the order of the channels; by default those of the columns. With one
            column of images, colour pictures have the modalities red, green and blue, and grey
            images one that is called ``image``.

    Returns:
        The cases. The classes have the labels 1, 2, ... in the order of their columns.

    Raises:
        InputError: The table cannot be read, or is not as described.
    """
    table = read_table(source)
    roles = _roles(table)
    lines = [_line(table, number, roles) for number in range(len(table.rows))]
    names = [name for kind, name in roles if kind == TAG]
    names = names or [name for kind, name in roles if kind == MASK and name]
    labels: Labels = {name: (number,) for number, name in enumerate(names, start=1)}
    if (IMAGE, "") in roles:
        cells = (cell for line in lines if (cell := line.lone(IMAGE)))
        images = (ImageFile(source.parent / _path(source, cell)) for cell in cells)
        channels = channels_of(images, modalities)
    else:
        channels = {name: None for kind, name in roles if kind == IMAGE}
    chosen = choose_modalities(source, modalities, channels)
    wanted = {name: channels[name] for name in chosen}
    patients = _patients(lines)
    cases, faults = partition(
        attempt(_case, source, line, wanted, labels, patients) for line in lines
    )
    _check_named_once(lines)
    cases = with_empty_masks(cases)
    found = sorted_cases(source, cases, TABLE_EXAMPLE, faults)
    return CaseList(chosen, labels, None, found, tuple(faults))


def _roles(table: Table) -> list[tuple[str, str]]:
    """Return the kind and the name of each column.

    Raises:
        InputError: There is no column of images, two are the same, or one may tell patients.
    """
    roles = [_role(table, number) for number in range(len(table.columns))]
    patients = [f"`{table.columns[n]}`" for n, (kind, _) in enumerate(roles) if kind == PATIENT]
    if len(patients) > 1:
        raise InputError(
            f"{table.path}: has several columns of patients, {', '.join(patients)}; keep one"
        )
    for number, (kind, name) in enumerate(roles):
        if kind != UNUSED and (kind, name) in roles[:number]:
            column = table.columns[number]
            raise InputError(f"{table.path}: has two columns `{column}`; remove one")
    images = [name for kind, name in roles if kind == IMAGE]
    if not images:
        table.column(IMAGE)  # which says that there is none
    if len(images) > 1 and "" in images:
        raise InputError(
            f"{table.path}: has the column `image` beside `image:{max(images)}`; name the modality "
            "of each, such as `image:FLAIR`"
        )
    unused = [f"`{name}`" for kind, name in roles if kind == UNUSED and name]
    if unused:
        warnings.warn(
            f"{table.path}: {', '.join(unused)} not used, because most cells are no tags (0, 1, or "
            "slices such as 12-40;55)",
            stacklevel=3,
        )
    return roles


def _role(table: Table, number: int) -> tuple[str, str]:
    """Return the kind and the name of a column.

    Raises:
        InputError: Its name is like that of a column of patients.
    """
    column = table.columns[number]
    if match := KNOWN.fullmatch(column):
        return (match[1] or match[3]).lower(), match[2] or ""
    if PATIENTS.fullmatch(column):
        return PATIENT, ""
    cells = [row[number] for row in table.rows if row[number]]
    is_class = bool(column) and 2 * sum(map(is_tag, cells)) > len(cells)
    if LIKE_PATIENTS.search(column) and not (is_class and set(cells) <= {"0", "1"}):
        raise InputError(
            f"{table.path}: has a column `{column}`, which may tell the patients; call it "
            "`patient` if it does, otherwise rename or remove it"
        )
    return (TAG if is_class else UNUSED), column


def _line(table: Table, number: int, roles: Sequence[tuple[str, str]]) -> _Line:
    cells: dict[str, dict[str, str]] = {kind: {} for kind in (IMAGE, MASK, PATIENT, ID, TAG)}
    for (kind, name), cell in zip(roles, table.rows[number], strict=True):
        if kind == TAG or (kind != UNUSED and cell):
            cells[kind][name] = cell
    return _Line(f"{table.path}: line {table.lines[number]}", cells)


def _path(source: Path, cell: str) -> str:
    """Return a path as it is below the folder of the table, if it is there."""
    path = PurePosixPath(cell.replace("\\", "/"))  # as Windows writes it
    folder = source.parent.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _patients(lines: Sequence[_Line]) -> dict[str, str]:
    """Return how each patient is written first, by the name in small letters."""
    names: dict[str, str] = {}
    for line in lines:
        if name := line.lone(PATIENT):
            names.setdefault(name.casefold(), name)
    return names


def _patient(line: _Line, patients: Mapping[str, str]) -> str | None:
    name = line.lone(PATIENT)
    if patients and not name:
        raise InputError(
            f"{line.place}: names no patient, but other lines do; fill it in, so that images of "
            "one patient never train and test"
        )
    return patients[name.casefold()] if name else None


def _case(
    source: Path, line: _Line, channels: Channels, labels: Labels, patients: Mapping[str, str]
) -> CaseFiles:
    paths = {name: _path(source, cell) for name, cell in line.cells[IMAGE].items()}
    if not paths:
        raise InputError(f"{line.place}: names no image; give its path, or remove the line")
    name = line.lone(ID) or default_id(list(paths.values()))
    check_id(Path(line.place), name)
    files = {name: ImageFile(source.parent / path) for name, path in paths.items()}
    if "" in files:
        files = {name: files[""]._replace(channel=n) for name, n in channels.items()}
    images = pick_images(name, Path(line.place), files, list(channels))
    cells = line.cells[TAG]
    tags = SliceTags(line.place, cells, {name: labels[name] for name in cells}) if cells else None
    return CaseFiles(name, images, _mask(source, line, labels), tags, _patient(line, patients))


def _mask(source: Path, line: _Line, labels: Labels) -> Path | tuple[MaskFile, ...] | None:
    masks = {name: source.parent / _path(source, cell) for name, cell in line.cells[MASK].items()}
    if "" in masks and len(masks) > 1:
        raise InputError(f"{line.place}: names a `mask` and others of single classes; remove one")
    for name in masks:
        if name and name not in labels:
            raise InputError(
                f"{line.place}: names a mask of `{name}`, which no column tags; add the column "
                f"`{name}`, or rename one of both"
            )
    return masks.get("") or tuple(MaskFile(path, *labels[n]) for n, path in masks.items()) or None


def default_id(paths: Sequence[str]) -> str:
    """Return the id of a case from the paths of its images, in its own folder or by its own name.

    Args:
        paths: As a table or datalist names them.

    Example:
        >>> default_id(["busi/benign (1).png"])
        'busi/benign (1)'
        >>> default_id(["ann/flair.nii.gz", "ann/t1.nii.gz"])
        'ann'
        >>> default_id(["raw/ann_flair.nii.gz", "raw/ann_t1.nii.gz"])
        'raw/ann'
        >>> default_id(["raw/ben#t2", "raw/ben#adc"])
        'raw/ben'
        >>> default_id(["flair/ann.nii.gz", "t1/ann.nii.gz"])
        'flair/ann'
    """
    path = PurePosixPath(paths[0])
    names = [PurePosixPath(each).name for each in paths]
    own = stem(Path(path.name))
    if len(paths) > 1 and len({PurePosixPath(each).parent for each in paths}) == 1:
        common = commonprefix(names)  # noqa: RUF071 (of letters, not of folders)
        own = END_OF_PART.sub("", f"/{common}*").strip("/")
    parts = [part for part in (*path.parent.parts, own) if part.strip("/.")]
    return "/".join(parts) or stem(Path(path.name))


def _check_named_once(lines: Sequence[_Line]) -> None:
    """Refuse an image that two lines name: one could train and the other test."""
    seen: dict[tuple[str, ...], str] = {}
    for line in lines:
        images = tuple(line.cells[IMAGE].values())
        if images in seen and images:
            first = seen[images].rpartition(" ")[2]
            raise InputError(
                f"{line.place}: names the same image as line {first} ({images[0]}); remove one "
                "(slices of one volume are tagged in one line, such as 12-40;55)"
            )
        seen[images] = line.place
