"""What a folder of anybody's images holds, in sentences, and a table that lists it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsseg.data.layouts.grouping import Group, group
from wsseg.data.layouts.roles import role_of
from wsseg.data.readers import Header, images_below, read_header
from wsseg.inspection.masks import MOST_LABELS, chosen_mask, labels_of, move_masks, tag_of
from wsseg.inspection.names import FINDING, classes_in, patients_in
from wsseg.utils.errors import InputError, attempt, first_of

MOST_HEADERS = 500  # images of which sizes are looked at
FOLDS = 5  # of `prepare`, unless it is told otherwise


@dataclass
class Start:
    """What a folder holds, and the table that lists it.

    Attributes:
        told: Sentences about what was found.
        to_do: What the user has to fill in or to check.
        columns: Cells below the name of each column.
        options: What ``check`` and ``prepare`` need besides the table.
    """

    told: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)


def look(root: Path, out: Path) -> Start:
    """Find out what a folder holds.

    Args:
        root: The folder.
        out: Folder that paths of the table are relative to.

    Raises:
        InputError: There is no image.
    """
    paths = images_below(root)
    groups = group(root, paths)
    if not groups:
        raise InputError(
            f"{root}: holds no image that wsseg can read; give a folder of PNG, JPEG, BMP, TIFF, "
            "NIfTI, NRRD, MetaImage, MGZ or DICOM files"
        )
    move_masks(groups)
    start = Start([f"{root}: {len(paths)} image file{'s' * (len(paths) > 1)}"])
    groups = _list_images(start, groups, root, out)
    ids = [each.id for each in groups]
    patients = _list_patients(start, ids)
    volumes = any(header.shape[2] > 1 for header in _headers(groups[:1]))
    tags = {
        name: [str(tag) for tag in column] for name, column in classes_in(ids).items()
    }  # none where names do not tell
    masks = _list_masks(start, groups, tags, root, out)
    start.columns |= tags
    start.to_do += about_tags(tags, masks=masks, volumes=volumes)
    if patients == 1:
        start.to_do.append(
            "Add images of other patients: there is only one, and training and test patients must "
            "differ."
        )
    elif patients < FOLDS:
        start.options += ["--folds", str(patients)]
    return start


def about_tags(tags: dict[str, list[str]], *, masks: bool, volumes: bool) -> list[str]:
    """Say what is to be done about tags.

    Args:
        tags: Cells of each class; "" where nothing is known.
        masks: Whether there are masks.
        volumes: Whether images have several slices.
    """
    if not tags:
        return ["Tags are read from the masks: there is nothing to fill in."]
    names = ", ".join(f"`{name}`" for name in tags)
    cells = "1 where an image shows it, 0 where it does not, empty where nobody knows"
    if volumes:
        cells += ", or the slices of a volume that show it, such as 12-40;55-60"
    if any("" in column for column in tags.values()):
        where = " where it is empty" if masks else ""
        return [
            f"Fill in {names}{where}: {cells}. Rename it after what it shows; each further class "
            "gets a column of its own."
        ]
    return [f"Check {names}, read from the names of files: {cells}."]


def _list_images(start: Start, groups: Sequence[Group], root: Path, out: Path) -> list[Group]:
    """Add the columns of images; return the cases that have all of them."""
    modalities, aside = _modalities(groups)
    lacking = [each.id for each in groups if not set(modalities) <= set(each.images)]
    groups = [each for each in groups if each.id not in lacking]
    headers = _headers(groups)
    named = [name for name in modalities if name]
    sort = f", each with {_and(named)}" if named else ""
    start.told.append(f"{len(groups)} case{'s' * (len(groups) > 1)}{sort}")
    start.told.append(sizes(headers))
    alone = any(root in each.images.values() for each in groups)
    if alone or out.resolve() != root.resolve():  # else the paths are good names
        start.columns["id"] = [each.id for each in groups]
    for name in modalities:
        cells = [_relative(each.images.get(name), out) for each in groups]
        start.columns[f"image:{name}" if name else "image"] = cells
    if aside:
        start.told.append(f"left out, on another grid of voxels or not in all: {_and(aside)}")
        start.to_do.append(
            "To use the modalities that were left out, resample them to the grid of the others."
        )
    if lacking:
        start.told.append(f"left out, without {_and(named)}: {first_of(lacking)}")
    return groups


def _list_patients(start: Start, ids: Sequence[str]) -> int:
    """Add the column of patients, if names tell them; return their number."""
    patients = patients_in(ids)
    if patients is None:
        start.to_do.append(
            "If a patient has several images, add a column `patient`: images of one patient never "
            "both train and test."
        )
        return len(ids)
    start.columns["patient"] = patients
    count = len(set(patients))
    start.told.append(f"{count} patients, guessed from names such as {patients[0]}")
    start.to_do.append("Check the column `patient`, which was guessed from names of files.")
    return count


def _list_masks(
    start: Start, groups: Sequence[Group], tags: dict[str, list[str]], root: Path, out: Path
) -> bool:
    """Add the column of masks, and that of tags unless masks make it needless.

    Returns:
        Whether there are masks.
    """
    names = [name for each in groups for name in each.masks]
    if not names:
        if not tags:
            tags[FINDING] = [""] * len(groups)
        return False
    chosen = chosen_mask(names)
    masks = [each.masks.get(chosen) for each in groups]
    found = [path for path in masks if path]
    start.told.append(
        f"{len(found)} mask{'s' * (len(found) > 1)}, recognised by names such as "
        f"{_relative(found[0], root)}"
    )
    others = [name for name in dict.fromkeys(names) if name != chosen and name.strip("+")]
    if others:
        start.told.append(f"left out, as masks of other things: {_and(others)}")
    labels = labels_of(found)
    several = 1 < len(labels) <= MOST_LABELS
    finding = FINDING if not chosen or role_of(chosen) else chosen
    column = "mask" if several or tags else f"mask:{finding}"
    start.columns[column] = [_relative(path, out) for path in masks]
    if several and not tags:
        classes = ", ".join(f"label_{value}: [{value}]" for value in labels)
        start.options += ["--classes", f"{{{classes}}}"]
        start.told.append(f"masks hold the labels {_and([str(label) for label in labels])}")
        start.to_do.append("Name the labels in --classes below after what they show.")
    elif not tags and len(found) < len(groups):
        tags[finding] = [tag_of(path) if path else "" for path in masks]
    return True


def _modalities(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    """Return the modalities that most cases have on one grid, and the others."""
    counts = Counter(name for each in groups for name in each.images)
    names = sorted(name for name, count in counts.items() if count == max(counts.values()))
    first = next((each.images for each in groups if set(names) <= set(each.images)), None)
    if first is None:  # no case has them all
        names, first = names[:1], groups[0].images
    headers = {name: attempt(read_header, first[name], "") for name in names if name in first}
    grids = {n: h.shape for n, h in headers.items() if not isinstance(h, InputError)}
    if len(set(grids.values())) > 1:
        common = Counter(grids.values()).most_common(1)[0][0]
        names = [name for name in names if grids.get(name) == common]
    return names, sorted(name for name in counts if name not in names and name.strip("+"))


def sizes(headers: Sequence[Header]) -> str:
    """Say how large images are, and whether they are in colour."""
    if not headers:
        return "none of them can be read; `wsseg check` says why"
    width, height, depth = (
        _range([str(min(side)), str(max(side))])
        for side in zip(*(header.shape for header in headers), strict=True)
    )
    if all(header.shape[2] == 1 for header in headers):
        coloured = sum(bool(header.names) for header in headers)
        some = "some in colour" if coloured else "grey"
        sort = "in colour" if coloured == len(headers) else some
        return f"pictures of {width} x {height} pixels, {sort}"
    lengths = np.array([np.linalg.norm(header.affine[:3, :3], axis=0) for header in headers])
    sides = (_range([f"{each.min():.3g}", f"{each.max():.3g}"]) for each in lengths.T)
    return f"volumes of {width} x {height} x {depth} voxels, each of {' x '.join(sides)} mm"


def _headers(groups: Sequence[Group]) -> list[Header]:
    some = groups[:: -(-len(groups) // MOST_HEADERS)]
    read = (attempt(read_header, next(iter(each.images.values())), each.id) for each in some)
    return [header for header in read if not isinstance(header, InputError)]


def _relative(path: Path | None, out: Path) -> str:
    return "" if path is None else Path(os.path.relpath(path, out)).as_posix()


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _range(ends: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys(ends))
