"""Finds out which files of a folder belong together, by their names."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsseg.data.readers import images_in, stem
from wsseg.inspection.names import IMAGE, MASK, role_of

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


def find_images(root: Path) -> list[Path]:
    """Return all images at any depth; a folder of one DICOM series is an image.

    Links to folders are followed, but no folder is entered twice.
    """
    found, seen = [], set()
    for folder, below, _ in os.walk(root, followlinks=True):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))
        if (real := here.resolve()) in seen:
            below[:] = []
        else:
            seen.add(real)
            found += images_in(here)
    return found


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
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in images:
        folders[path.parent].append(path)
    common = _common_names(folders.values())
    found: dict[str, Group] = {}
    for folder, paths in folders.items():
        together = _is_case(paths, common)
        for path in paths:
            key, kind, name = _place_in_case(root, folder, path) if together else _place(root, path)
            one = found.setdefault(key, Group(key))
            place = one.masks if kind == MASK else one.images
            while name in place:  # such as 17.jpg beside 17.png, or several masks of one image
                name += "+"
            place[name] = path
    return [found[key] for key in sorted(found) if found[key].images]


def _place(root: Path, path: Path) -> tuple[str, str, str]:
    """Return the id of the case that an image belongs to, its kind, and its name there."""
    parts, kind, name = [], IMAGE, ""
    for part in (*path.parent.relative_to(root).parts, stem(path)):
        role = role_of(part)
        if role is None:
            parts.append(part)
            continue
        kind = MASK if MASK in (kind, role[0]) else IMAGE
        name = role[1] or name
        parts += [role[2]] if role[2] else []
    return "/".join(parts) or stem(path), kind, name


def _place_in_case(root: Path, folder: Path, path: Path) -> tuple[str, str, str]:
    name = _own_name(path)
    kind, modality, _ = role_of(name) or (IMAGE, "", "")
    inside = folder.relative_to(root).as_posix()
    key = folder.name if inside == "." else inside
    if kind == IMAGE and IMAGE in name.lower() and not modality:
        name = ""
    return key, kind, modality or name


def _own_name(path: Path) -> str:
    """Return the name of an image without that of its folder."""
    return stem(path).removeprefix(path.parent.name).lstrip("_-. ") or stem(path)


def _common_names(folders: Iterable[Sequence[Path]]) -> set[str]:
    """Return the names that images of at least two folders have."""
    few = [{_own_name(path) for path in paths} for paths in folders if len(paths) <= MOST_TOGETHER]
    counts = Counter(name for names in few for name in names)
    return {name for name, count in counts.items() if count > 1}


def _is_case(paths: Sequence[Path], common: set[str]) -> bool:
    """Tell whether the images of a folder are one case: named by what they are, not counted."""
    names = [_own_name(path) for path in paths]
    if not 1 < len(names) <= MOST_TOGETHER:
        return False
    roles = [role_of(name) for name in names]
    lone = [role is not None and not role[2] for role in roles]
    kinds = [role[1] or role[0] if role and named else re.sub(r"\d+", "", name)
             for name, role, named in zip(names, roles, lone, strict=True)]  # fmt: skip
    told = any(lone) or 2 * sum(name in common for name in names) > len(names)
    return told and all(kinds) and len(set(kinds)) == len(kinds)
