"""What is done to a case when all cases are known: its slices get the common size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsseg.data.case_preparation import (
    IMAGES,
    MASKS,
    RECORDS,
    VALID,
    CaseJob,
    Record,
    keep_slices,
    save,
    tags_of,
)
from wsseg.data.geometry import crop
from wsseg.utils.errors import InputError

Size = tuple[int, int]


class Fit(NamedTuple):
    """How the arrays of a case become those of the store.

    Attributes:
        name: Name of the case.
        rows: Which of the slices that were written are kept.
        start: Row and column of these at which the common slices begin (may be negative).
        size: The common height and width.
        needed: False if the arrays are those of the store already.
    """

    name: str
    rows: list[int]
    start: Size
    size: Size
    needed: bool


def plan_fit(job: CaseJob, record: Record, size: Size) -> Fit:
    """Say how the arrays of a case become those of the store.

    Args:
        job: The case.
        record: What was written of it.
        size: Height and width of all slices.

    Raises:
        InputError: No slice has enough anatomy.
    """
    rows, own = record["rows"], record["geometry"]["size"]
    areas = dict(zip(rows, record["areas"], strict=True))
    kept = keep_slices(areas, size, job.min_anatomy, job.slice_step)
    if not kept:
        raise InputError(
            f"{job.files.id}: no slice of the case holds anatomy in {job.min_anatomy:g} of its "
            "area; lower --min_anatomy or remove the case"
        )
    start = (own[0] - size[0]) // 2, (own[1] - size[1]) // 2
    chosen = [rows.index(number) for number in kept]
    return Fit(job.files.id, chosen, start, size, tuple(own) != size or len(kept) < len(rows))


def case_entry(job: CaseJob, record: Record, fit: Fit, folder: Path) -> dict[str, Any]:
    """Return the entry of a case in the manifest.

    Args:
        job: The case.
        record: What was written of it.
        fit: What becomes of that.
        folder: Where it was written.

    Raises:
        InputError: A slice has no tag.
    """
    geometry = record["geometry"]
    kept = [record["rows"][n] for n in fit.rows]
    tags = [record["tags"][n] for n in fit.rows]
    if None in tags:
        raise InputError(
            f"{job.files.tags}: tags of case {job.files.id} lack slice {kept[tags.index(None)]}; "
            f"give a line for every slice along --axis that holds anatomy ({kept[0]} to {kept[-1]})"
        )
    if job.files.tags is None and max(fit.start) > 0:  # of masks, something may be cut off
        tags = tags_of(_fitted(folder / MASKS / f"{fit.name}.npy", fit))
    start = [n + m for n, m in zip(geometry["start"], fit.start, strict=True)]
    return {
        "id": job.files.id,
        "slices": len(kept),
        "tags": tags,
        "positions": kept,
        "spacing": [geometry["thickness"] * job.slice_step, *geometry["spacing"]],
        "sha256": record["sha256"],
        "content": record["content"],
        "geometry": {**geometry, "start": start, "size": fit.size},
    }


def fit_case(fit: Fit, folder: Path) -> None:
    """Bring the arrays of a case to the common size.

    Args:
        fit: What becomes of them.
        folder: A store in the making.
    """
    # Without its record a case is built again, should this be interrupted.
    (folder / RECORDS / f"{fit.name}.json").unlink(missing_ok=True)
    for kind in (IMAGES, VALID, MASKS):
        path = folder / kind / f"{fit.name}.npy"
        if kind != MASKS or path.is_file():
            save(path, _fitted(path, fit))


def _fitted(path: Path, fit: Fit) -> np.ndarray:
    return crop(np.load(path, mmap_mode="r")[fit.rows], fit.start, fit.size)
