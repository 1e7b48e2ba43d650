"""What is done to one case on its way into a slice store (runs in worker processes)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.anatomy import Anatomy, centred, enough, find_anatomy, reference_of
from wsseg.data.geometry import Geometry, crop, windows
from wsseg.data.hashes import hash_case, hash_labels, hash_volume
from wsseg.data.layouts.cases import CaseFiles
from wsseg.data.planes import box_to_planes, to_planes
from wsseg.data.slicing import cut, mask_to_slices
from wsseg.data.spec import DataSpec
from wsseg.data.store_files import ArrayFolder
from wsseg.data.tags import SliceTags, compare_tags, read_tags
from wsseg.data.unfinished_store import Record, UnfinishedStore
from wsseg.data.volumes import CaseLabels, class_masks, read_case_images, read_case_mask
from wsseg.utils.errors import InputError

RECORD = 2  # number of this kind of record; since 2 it says where the voxels of a case lie


@dataclass(frozen=True)
class CaseJob:
    """A case and all that its slices depend on.

    Attributes:
        files: The files of the case.
        spec: How volumes become slices; size (0, 0) while it is not known.
        labels: Every label that the mask may hold.
        slice_step: Every how many slices one is kept.
        min_anatomy: Least share of a slice that must hold anatomy.
    """

    files: CaseFiles
    spec: DataSpec
    labels: frozenset[int]
    slice_step: int
    min_anatomy: float

    def key(self, sha256: dict[str, str]) -> str:
        """Return a hash of everything that the result depends on.

        Args:
            sha256: Hash of each source file.
        """
        # Not sorted by name: the order of modalities and classes is that of the channels.
        parts = [RECORD, self.spec.to_dict(), sorted(self.labels), self.min_anatomy, sha256]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    start: tuple[int, int]
    size: tuple[int, int]
    needed: bool


def build_case(job: CaseJob, store: UnfinishedStore) -> Record:
    """Write the slices of a case, unless the same are there.

    Every file is read to its end here, once, and verified. Where the size of slices depends on the
    other cases, they get one that holds this case, and every slice that may be kept is written:
    :func:`fit_case` makes them fit.

    Args:
        job: The case.
        store: Where to.

    Returns:
        What there is to know of the slices.

    Raises:
        InputError: A file cannot be used.
    """
    case, sha256 = job.files.id, hash_case(job.files)
    key = job.key(sha256)
    record = store.read_record(case)
    if record.get("key") != key:
        store.remove_record(case)
        record = {"key": key, "sha256": sha256, **_build(job, store)}
        store.write_record(case, record)
    return record


def plan_fit(job: CaseJob, record: Record, size: tuple[int, int]) -> Fit:
    """Decide how the arrays of a case become those of the store.

    Args:
        job: The case.
        record: What was written of it.
        size: Height and width of all slices.

    Raises:
        InputError: No slice has enough anatomy.
    """
    rows, own = record["rows"], record["geometry"]["size"]
    areas = dict(zip(rows, record["areas"], strict=True))
    kept = keep_slices(
        areas, size, _least_share(job, Geometry.from_dict(record["geometry"])), job.slice_step
    )
    if not kept:
        raise InputError(
            f"{job.files.id}: no slice of the case holds anatomy in {job.min_anatomy:g} of its "
            "area; lower --min_anatomy or remove the case"
        )
    start = (own[0] - size[0]) // 2, (own[1] - size[1]) // 2
    chosen = [rows.index(number) for number in kept]
    return Fit(job.files.id, chosen, start, size, tuple(own) != size or len(kept) < len(rows))


def case_entry(job: CaseJob, record: Record, fit: Fit, store: UnfinishedStore) -> dict[str, Any]:
    """Return the entry of a case in the manifest.

    Args:
        job: The case.
        record: What was written of it.
        fit: What becomes of that.
        store: Where it was written.

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
        tags = tags_of(_fitted(store.masks, fit))
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
        "source": record["source"],
    }


def fit_case(fit: Fit, store: UnfinishedStore) -> None:
    """Bring the arrays of a case to the common size.

    Args:
        fit: What becomes of them.
        store: Where they are.
    """
    # Without its record a case is built again, should this be interrupted.
    store.remove_record(fit.name)
    for arrays in (store.images, store.valid, store.masks):
        if arrays is not store.masks or fit.name in arrays:
            arrays.write(fit.name, _fitted(arrays, fit))


def keep_slices(
    areas: Mapping[int, int], size: tuple[int, int], min_anatomy: float, step: int = 1
) -> list[int]:
    """Choose the slices that hold enough anatomy.

    Args:
        areas: How many pixels of each slice hold anatomy, by its number, ascending.
        size: Height and width of slices.
        min_anatomy: Least share of a slice's pixels that must.
        step: Every how many slices, from the first with enough anatomy, one is kept.

    Returns:
        Numbers of the slices, ascending.
    """
    pixels = size[0] * size[1]
    found = [number for number, area in areas.items() if area and area / pixels >= min_anatomy]
    return [number for number in found if (number - found[0]) % step == 0]


def tags_of(masks: NDArray[np.bool_]) -> list[list[int]]:
    """Return which classes each slice shows, from masks [S, C, H, W]."""
    tags: list[list[int]] = masks.any(axis=(2, 3)).astype(int).tolist()
    return tags


def _build(job: CaseJob, store: UnfinishedStore) -> Record:
    spec, case = job.spec, job.files.id
    images = read_case_images(job.files, spec.modalities, as_is=not spec.plan.shifts_background)
    anatomy = find_anatomy(images.volumes, images.affine, spec)
    if not anatomy.inside.any():
        raise InputError(
            f"{job.files.paths[0]}: case {case} shows no body (`{spec.plan.body}`); remove it, or "
            "give another --body"
        )
    labels = None
    if job.files.mask is not None:
        labels = read_case_mask(job.files, job.labels, images)
    given = any(spec.size)
    geometry = centred(anatomy, spec.size if given else _holding(anatomy, labels))
    areas = _areas(anatomy, geometry)
    least = spec.size if given else enough(anatomy.size)
    rows = keep_slices(areas, least, _least_share(job, geometry))
    slices = cut(anatomy, geometry, rows, spec.plan.scales, np.float16)
    store.images.write(case, slices.image)
    store.valid.write(case, slices.valid)
    store.masks.remove(case)
    masks, shown = None, None
    if labels is not None:
        volume = class_masks(labels, spec.classes)
        if job.files.tags is not None:
            shown = tags_of(to_planes(volume, geometry.orientation, geometry.axis))
        masks = mask_to_slices(volume, geometry)[rows]
        store.masks.write(case, masks)
    tags, doubt = _tags(job, geometry.depth, rows, masks, shown)
    return {
        "content": {
            name: hash_volume(volume)
            for name, volume in zip(spec.modalities, images.volumes, strict=True)
        },
        "mask": None if labels is None else hash_labels(labels.volume, labels.box),
        "anatomy": anatomy.size,
        "reference": asdict(reference_of(anatomy)),
        "geometry": asdict(geometry),
        "source": {"affine": images.affine.tolist(), "unit": images.source.unit},
        "rows": rows,
        "areas": [areas[number] for number in rows],
        "tags": tags,
        "doubt": doubt,
    }


def _fitted(arrays: ArrayFolder, fit: Fit) -> np.ndarray:
    return crop(arrays[fit.name][fit.rows], fit.start, fit.size)


def _holding(anatomy: Anatomy, labels: CaseLabels | None) -> tuple[int, int]:
    """Return the size of slices that hold the anatomy of a case and all labels of its mask."""
    if labels is None or not labels.volume[labels.box].any():
        return enough(anatomy.size)
    whole = anatomy.whole
    box = box_to_planes(labels.box, whole.shape, whole.orientation, whole.axis)
    reach = []
    for (low, high), span, step in zip(anatomy.bounds, box[1:], whole.step, strict=True):
        middle = (low + high) // 2
        reach.append(2 * max(middle - int(span.start / step), math.ceil(span.stop / step) - middle))
    return enough(anatomy.size, (reach[0], reach[1]))


def _least_share(job: CaseJob, geometry: Geometry) -> float:
    """Return the least share of a slice that must hold anatomy: of a picture none is left out."""
    return job.min_anatomy if geometry.depth > 1 else 0.0


def _areas(anatomy: Anatomy, geometry: Geometry) -> dict[int, int]:
    """Return how many pixels of each slice hold anatomy, of those where any does."""
    start = [n - m for n, m in zip(geometry.start, anatomy.corner, strict=True)]
    source, _ = windows(start, geometry.size, anatomy.valid.shape[1:])
    counts = [int(np.count_nonzero(plane[source])) for plane in anatomy.valid]
    return {n: area for n, area in enumerate(counts, anatomy.box[0].start) if area}


def _tags(
    job: CaseJob,
    slices: int,
    rows: list[int],
    masks: NDArray[np.bool_] | None,
    shown: list[list[int]] | None,
) -> tuple[list[Sequence[int | None] | None], str | None]:
    """Return the tags of each slice, and a warning if table and mask seem not to fit."""
    given, case = job.files.tags, job.files.id
    if given is not None:
        table = read_tags(given, case, job.spec.classes, slices)
        if shown is not None and isinstance(given, SliceTags) and not given.names_slices:
            anywhere = [int(any(column)) for column in zip(*shown, strict=True)]
            shown = [anywhere] * slices
        doubt = None if shown is None else compare_tags(given, case, table, shown)
        return [table.get(number) for number in rows], doubt
    if masks is None:
        raise InputError(f"case {case}: has neither mask nor tags; add one")
    return [*tags_of(masks)], None
