"""What is done to one case on its way into a slice store (runs in worker processes)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.anatomy import Anatomy, centred, enough, find_anatomy
from wsseg.data.geometry import Geometry, windows
from wsseg.data.layouts.cases import CaseFiles
from wsseg.data.planes import box_to_planes, to_planes
from wsseg.data.slicing import cut, mask_to_slices
from wsseg.data.spec import DataSpec
from wsseg.data.tags import compare_tags, read_tags
from wsseg.data.volumes import CaseLabels, class_masks, read_case_images, read_case_mask
from wsseg.utils.errors import InputError
from wsseg.utils.files import replacing, write_text

SPARSE, FEW = 5, 16  # one in so many voxels along an axis tells volumes apart, but at least so many
IMAGES, VALID, MASKS, RECORDS = "images", "valid", "masks", "records"
Record = dict[str, Any]


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
        parts = [self.spec.to_dict(), sorted(self.labels), self.min_anatomy, sha256]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def hash_case(files: CaseFiles) -> dict[str, str]:
    """Hash the source files of a case.

    Args:
        files: The case.

    Returns:
        SHA-256 by role: each modality, ``mask`` and ``tags``.

    Raises:
        InputError: A file cannot be read.
    """
    places = {name: image.path for name, image in files.images.items()}
    places |= {"mask": files.mask} if files.mask else {}
    places |= {"tags": files.tags} if files.tags else {}
    digests = {path: _digest(path, files.id) for path in set(places.values())}
    return {role: digests[path] for role, path in places.items()}


def build_case(job: CaseJob, folder: Path) -> Record:
    """Write the slices of a case into a folder, unless the same are there.

    Every file is read to its end here, once, and verified. Where the size of slices depends on the
    other cases, they get one that holds this case, and every slice that may be kept is written:
    :func:`~wsseg.data.case_completion.fit_case` makes them fit.

    Args:
        job: The case.
        folder: A store in the making.

    Returns:
        What there is to know of the slices.

    Raises:
        InputError: A file cannot be used.
    """
    place = folder / RECORDS / f"{job.files.id}.json"
    sha256 = hash_case(job.files)
    key = job.key(sha256)
    record: Record = json.loads(place.read_text()) if place.is_file() else {}
    if record.get("key") != key:
        place.unlink(missing_ok=True)
        record = {"key": key, "sha256": sha256, **_build(job, folder)}
        write_text(place, json.dumps(record) + "\n")
    return record


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


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    with replacing(path) as part:
        np.save(part, array)


def _build(job: CaseJob, folder: Path) -> Record:
    spec, file = job.spec, f"{job.files.id}.npy"
    images = read_case_images(job.files, spec.modalities)
    anatomy = find_anatomy(images.volumes, images.affine, spec.axis, spec.spacing)
    labels = read_case_mask(job.files, job.labels, images) if job.files.mask else None
    given = any(spec.size)
    geometry = centred(anatomy, spec.size if given else _holding(anatomy, labels))
    areas = _areas(anatomy, geometry)
    least = spec.size if given else enough(anatomy.size)
    rows = keep_slices(areas, least, job.min_anatomy)
    slices = cut(anatomy, geometry, rows, np.float16)
    save(folder / IMAGES / file, slices.image)
    save(folder / VALID / file, slices.valid)
    (folder / MASKS / file).unlink(missing_ok=True)
    masks, shown = None, None
    if labels is not None:
        volume = class_masks(labels, spec.classes)
        if job.files.tags is not None:
            shown = tags_of(to_planes(volume, geometry.orientation, geometry.axis))
        masks = mask_to_slices(volume, geometry)[rows]
        save(folder / MASKS / file, masks)
    tags, doubt = _tags(job, geometry.depth, rows, masks, shown)
    return {
        "content": {
            name: _fingerprint(volume)
            for name, volume in zip(spec.modalities, images.volumes, strict=True)
        },
        "anatomy": anatomy.size,
        "geometry": asdict(geometry),
        "rows": rows,
        "areas": [areas[number] for number in rows],
        "tags": tags,
        "doubt": doubt,
    }


def _holding(anatomy: Anatomy, labels: CaseLabels | None) -> tuple[int, int]:
    """Return the size of slices that hold all of a case, with a mask that leaves its anatomy."""
    if labels is None or not labels.volume[labels.box].any():
        return enough(anatomy.size)
    whole = anatomy.whole
    box = box_to_planes(labels.box, whole.shape, whole.orientation, whole.axis)
    reach = []
    for (low, high), span, step in zip(anatomy.bounds, box[1:], whole.step, strict=True):
        middle = (low + high) // 2
        reach.append(2 * max(middle - int(span.start / step), math.ceil(span.stop / step) - middle))
    return enough(anatomy.size, (reach[0], reach[1]))


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
) -> tuple[list[list[int] | None], str | None]:
    """Return a row per slice, from the table if there is one, and how it differs from the mask."""
    path, case = job.files.tags, job.files.id
    if path is not None:
        table = read_tags(path, case, list(job.spec.classes), slices)
        doubt = None if shown is None else compare_tags(path, case, table, shown)
        return [table.get(number) for number in rows], doubt
    if masks is None:
        raise InputError(f"case {case}: has neither mask nor tags; add one")
    return [*tags_of(masks)], None


def _fingerprint(volume: NDArray[Any]) -> str:
    """Return what tells a volume from others, in whatever file and type it is kept.

    Of evenly spaced voxels: reading and hashing all of them would cost a tenth of a second more.
    Of few planes all are looked at, since the first ones often show nothing.
    """
    x, y, z = (max(1, min(SPARSE, length // FEW)) for length in volume.shape)
    sample = np.ascontiguousarray(volume[::x, ::y, ::z], np.float32)
    return hashlib.sha256(str(volume.shape).encode() + sample.tobytes()).hexdigest()


def _digest(path: Path, case: str) -> str:
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(
            f"{path} (case {case}): cannot be read ({error.strerror}); correct the path"
        ) from None
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.iterdir()):
        if not file.name.startswith(".") and file.is_file():
            yield file
