"""What is done to one case on its way into a slice store (runs in worker processes)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.geometry import Geometry, Slices, anatomy_size, mask_to_slices, volume_to_slices
from wsseg.data.layouts.cases import CaseFiles
from wsseg.data.spec import DataSpec
from wsseg.data.tags import read_tags
from wsseg.data.volumes import CaseImages, class_masks, read_case_images, read_case_mask
from wsseg.errors import InputError

IMAGES, VALID, MASKS, RECORDS = "images", "valid", "masks", "records"


@dataclass(frozen=True)
class CaseJob:
    """A case and all that its slices depend on.

    Attributes:
        files: The files of the case.
        spec: How volumes become slices; size (0, 0) while it is not known.
        labels: Every label that the mask may hold.
        slice_step: Every how many slices one is kept.
        min_anatomy: Least share of a slice that must hold anatomy.
        sha256: Hash of each source file.
    """

    files: CaseFiles
    spec: DataSpec
    labels: frozenset[int]
    slice_step: int
    min_anatomy: float
    sha256: dict[str, str]

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on."""
        parts = [
            self.spec.to_dict(),
            sorted(self.labels),
            self.slice_step,
            self.min_anatomy,
            self.sha256,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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


def inspect_case(job: CaseJob) -> tuple[int, int]:
    """Verify all files of a case.

    Args:
        job: The case.

    Returns:
        Height and width in slice pixels of the box that holds its anatomy.

    Raises:
        InputError: A file cannot be used.
    """
    spec = job.spec
    images = read_case_images(job.files, spec.modalities)
    height, width = anatomy_size(images.array, images.affine, spec.axis, spec.spacing)
    if job.files.mask:
        read_case_mask(job.files, job.labels, images)
    if job.files.tags:
        longest = max(images.array.shape[1:])  # which axis is sliced does not matter here
        read_tags(job.files.tags, job.files.id, list(spec.classes), longest)
    return height, width


def build_case(job: CaseJob, folder: Path) -> dict[str, Any]:
    """Write the slices of a case into a folder, unless the same are there.

    Args:
        job: The case.
        folder: A store in the making.

    Returns:
        The case's entry in the manifest.

    Raises:
        InputError: A file cannot be used, no slice has enough anatomy, or a slice has no tag.
    """
    record = folder / RECORDS / f"{job.files.id}.json"
    done = json.loads(record.read_text()) if record.is_file() else {}
    if done.get("key") != job.key:
        record.unlink(missing_ok=True)
        done = {"key": job.key, "entry": _build(job, folder)}
        write_json(record, done)
    entry: dict[str, Any] = done["entry"]
    return entry


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=None) + "\n")
    part.replace(path)


def keep_slices(valid: NDArray[np.bool_], step: int, min_anatomy: float) -> list[int]:
    """Choose the slices that hold enough anatomy.

    Args:
        valid: [S, H, W].
        step: Every how many slices, from the first with enough anatomy, one is kept.
        min_anatomy: Least share of a slice's pixels that must be valid.

    Returns:
        Numbers of the slices, ascending.
    """
    enough = valid.any(axis=(1, 2)) & (valid.mean(axis=(1, 2)) >= min_anatomy)
    found = np.flatnonzero(enough)
    return [int(n) for n in found if (n - found[0]) % step == 0]


def _build(job: CaseJob, folder: Path) -> dict[str, Any]:
    name = job.files.id
    images = read_case_images(job.files, job.spec.modalities)
    slices = volume_to_slices(images.array, images.affine, job.spec)
    kept = keep_slices(slices.valid, job.slice_step, job.min_anatomy)
    if not kept:
        raise InputError(
            f"{name}: no slice of the case holds anatomy in {job.min_anatomy:g} of its area; "
            "lower --min_anatomy or remove the case"
        )
    masks = _masks(job, images, slices.geometry, kept)
    tags = _tags(job, len(slices.valid), kept, masks)
    _save(folder / IMAGES / f"{name}.npy", slices.image[kept].astype(np.float16))
    _save(folder / VALID / f"{name}.npy", slices.valid[kept])
    if masks is None:
        (folder / MASKS / f"{name}.npy").unlink(missing_ok=True)
    else:
        _save(folder / MASKS / f"{name}.npy", masks)
    return _entry(job, slices, kept, tags)


def _entry(job: CaseJob, slices: Slices, kept: list[int], tags: list[list[int]]) -> dict[str, Any]:
    geometry = slices.geometry
    return {
        "id": job.files.id,
        "slices": len(kept),
        "tags": tags,
        "positions": kept,
        "spacing": [geometry.thickness * job.slice_step, *geometry.spacing],
        "sha256": job.sha256,
        "geometry": asdict(geometry),
    }


def _masks(
    job: CaseJob, images: CaseImages, geometry: Geometry, kept: list[int]
) -> NDArray[np.bool_] | None:
    if job.files.mask is None:
        return None
    labels = read_case_mask(job.files, job.labels, images)
    return mask_to_slices(class_masks(labels, job.spec.classes), geometry)[kept]


def _tags(
    job: CaseJob, slices: int, kept: list[int], masks: NDArray[np.bool_] | None
) -> list[list[int]]:
    """Return a row per slice: from the table if there is one, else from the mask."""
    path = job.files.tags
    if path is None:
        if masks is None:
            raise InputError(f"{job.files.id}: the case has neither mask nor tags; add one")
        rows: list[list[int]] = masks.any(axis=(2, 3)).astype(int).tolist()
        return rows
    table = read_tags(path, job.files.id, list(job.spec.classes), slices)
    missing = [number for number in kept if number not in table]
    if missing:
        raise InputError(
            f"{path}: tags of case {job.files.id} lack slice {missing[0]}; give a line for every "
            f"slice that holds anatomy ({kept[0]} to {kept[-1]})"
        )
    return [table[number] for number in kept]


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        np.save(stream, array)
    part.replace(path)


def _digest(path: Path, case: str) -> str:
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(
            f"{path}: of case {case} cannot be read ({error.strerror}); correct the path"
        ) from None
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.iterdir()):
        if not file.name.startswith(".") and file.is_file():
            yield file
