"""Finds out which files of a folder belong together, by their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from wsseg.data.layouts.roles import IMAGE, MASK, role_of
from wsseg.data.readers import stem
from wsseg.data.readers.dicom import described
from wsseg.utils.errors import InputError, attempt

MOST_TOGETHER = 12  # images of one case in a folder of its own


@dataclass
class Group:
    """The files of one case.

    Attributes:
        id: A name for it.
        images: A path for each modality; "" is the only one that has no name.
        masks: Paths by the name of the mask.
    """

    id: str
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)


def group(root: Path, images: Iterable[Path]) -> list[Group]:
    """Put images and masks of one case together.

    Three habits are understood: a folder for each case, whose files are named alike in all of
    them; names that end or begin with a modality or ``mask``; and folders of such names side by
    side, such as ``images`` and ``masks``.

    Args:
        root: The folder that the ids of cases are paths below of.
        images: All of them.

    Returns:
        Cases with at least one image, sorted by id.

    Example:
        >>> root = Path("data")
        >>> paths = [root / "images/17.png", root / "images/18.png", root / "masks/17.png"]
        >>> [(each.id, len(each.masks)) for each in group(root, paths)]
        [('17', 1), ('18', 0)]
    """
    folders: defaultdict[Path, list[_File]] = defaultdict(list)
    for path in images:
        read = attempt(described, path)
        series = None if isinstance(read, InputError) else read  # who reads the image will say why
        folder, name = series or (path.parent, stem(path))
        if not folder.is_relative_to(root):  # the root itself is a series, or holds it
            folder = root
        own = name.removeprefix(folder.name).lstrip("_-. ") or name
        folders[folder].append(_File(path, name, own, series is not None))
    common = _common_names(folders.values())
    found: dict[str, Group] = {}
    for folder, files in folders.items():
        together = _is_case(files, common)
        inside = folder.relative_to(root)
        for file in files:
            key, kind, name = (
                _place_in_case(folder, inside, file) if together else _place(inside, file)
            )
            one = found.setdefault(key, Group(key))
            place = one.masks if kind == MASK else one.images
            while name in place:  # such as 17.jpg beside 17.png, or several masks of one image
                name += "+"
            place[name] = file.path
    return [found[key] for key in sorted(found) if found[key].images]


class _File(NamedTuple):
    """An image.

    Attributes:
        path: Of the file.
        name: Of the file, or the description of a DICOM series.
        own: The name without that of its folder.
        series: Whether it is one of several DICOM series in its folder.
    """

    path: Path
    name: str
    own: str
    series: bool


def _place(inside: Path, file: _File) -> tuple[str, str, str]:
    """Return the id of the case that an image belongs to, its kind, and its name there."""
    parts, kind, name = [], IMAGE, ""
    for part in (*inside.parts, file.name):
        role = role_of(part)
        if role is None:
            parts.append(part)
            continue
        kind = MASK if MASK in (kind, role[0]) else IMAGE
        name = role[1] or name
        parts += [role[2]] if role[2] else []
    return "/".join(parts) or file.name, kind, name


def _place_in_case(folder: Path, inside: Path, file: _File) -> tuple[str, str, str]:
    """Return the same of an image in a folder that is one case."""
    kind, modality, _ = role_of(file.own) or (IMAGE, "", "")
    key = inside.as_posix() if inside.parts else folder.name
    nameless = kind == IMAGE and not modality and IMAGE in file.own.lower()
    return key, kind, "" if nameless else modality or file.own


def _common_names(folders: Iterable[Sequence[_File]]) -> set[str]:
    """Return the names that images of at least two folders have."""
    few = [{file.own for file in files} for files in folders if len(files) <= MOST_TOGETHER]
    counts = Counter(name for names in few for name in names)
    return {name for name, count in counts.items() if count > 1}


def _is_case(files: Sequence[_File], common: set[str]) -> bool:
    """Tell whether the images of a folder are one case: named by what they are, not counted."""
    names = [file.own for file in files]
    if not 1 < len(names) <= MOST_TOGETHER:
        return False
    kinds, known = [], 0
    for name in names:
        role = role_of(name)
        lone = role is not None and not role[2]
        known += lone
        kinds.append((role[1] or role[0]) if role and lone else re.sub(r"\d+", "", name))
    recurring = sum(name in common for name in names)
    told = all(file.series for file in files) or 2 * max(known, recurring) >= len(names)
    return told and all(kinds) and len(set(kinds)) == len(kinds)
