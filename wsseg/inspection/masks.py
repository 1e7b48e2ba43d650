"""Which images of a folder are masks, and what they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.layouts.grouping import Group
from wsseg.data.planes import to_planes
from wsseg.data.readers import read_voxels
from wsseg.utils.errors import InputError, attempt

MOST_LABELS = 12  # a mask of more values numbers single objects, such as nuclei
SAMPLED_MASKS = 8  # of which labels are looked at
NO_FINDING = ("brain", "body", "tissue", "scribble", "skull")  # parts of names of other masks


def move_masks(groups: Sequence[Group]) -> None:
    """Move what looks like a mask by its content, such as ``liver.nii.gz``, from images to masks.

    Args:
        groups: The cases; those of one image are left as they are.
    """
    names = Counter(name for each in groups if len(each.images) > 1 for name in each.images)
    for name in names:
        example = next(each.images[name] for each in groups if name in each.images)
        if name and looks_like_mask(example):
            for each in groups:
                if name in each.images and len(each.images) > 1:
                    each.masks[name] = each.images.pop(name)


def looks_like_mask(path: Path) -> bool:
    """Tell whether an image holds but a few whole numbers, the least of which is 0."""
    values = _values(path)
    whole = bool((values == np.rint(values)).all())
    return 0 < len(values) <= MOST_LABELS and whole and values[0] == 0


def chosen_mask(names: Iterable[str]) -> str:
    """Return the name of the mask that most likely shows the finding.

    Args:
        names: Of all masks of all cases.

    Example:
        >>> chosen_mask(["brainmask", "tumour", "brainmask", "tumour"])
        'tumour'
    """
    counts = Counter(names)

    def rank(name: str) -> tuple[bool, int, str]:
        return any(part in name.lower() for part in NO_FINDING), -counts[name], name

    return min(counts, key=rank)


def tag_of(mask: Path) -> str:
    """Return the tag that a mask shows, as a cell of a table: 0, 1, or slices of a volume."""
    read = attempt(read_voxels, mask, "", mask=True)
    if isinstance(read, InputError):
        return ""  # `check` will say why
    header, voxels = read
    whole = whole_plane_geometry(header.shape, header.affine, "axial", None)
    shown = voxels.reshape(*header.shape, -1).any(axis=-1)
    planes = to_planes(np.asarray(shown)[None], whole.orientation, whole.axis)
    rows = np.flatnonzero(planes.any(axis=(1, 2, 3))).tolist()
    return ranges(rows) if whole.depth > 1 else str(len(rows))


def ranges(numbers: Sequence[int]) -> str:
    """Write numbers of slices as a table has them.

    Example:
        >>> ranges([3, 4, 5, 9]), ranges([])
        ('3-5;9-9', '0')
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ";".join(f"{first}-{last}" for first, last in spans) or "0"


def labels_of(masks: Sequence[Path]) -> list[int]:
    """Return the values other than 0 of some masks."""
    some = masks[:: max(1, len(masks) // SAMPLED_MASKS)][:SAMPLED_MASKS]
    return sorted({int(value) for path in some for value in _values(path)} - {0})


def _values(path: Path) -> np.ndarray:
    read = attempt(read_voxels, path, "", mask=True)
    return np.zeros(0) if isinstance(read, InputError) else np.unique(read[1])
