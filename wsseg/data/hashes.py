"""Hashes by which the files and the volumes of cases are recognised."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.layouts.cases import CaseFiles
from wsseg.data.readers import files_of
from wsseg.data.tags import SliceTags
from wsseg.utils.errors import InputError

EVERY_NTH, LEAST_PLANES = (
    5,
    16,
)  # one in so many voxels along an axis tells volumes apart, but at least so many


def hash_case(files: CaseFiles) -> dict[str, str]:
    """Hash the source files of a case.

    Args:
        files: The case.

    Returns:
        SHA-256 by role: each modality, ``mask`` (or one of each file of it) and ``tags``.

    Raises:
        InputError: A file cannot be read.
    """
    places = {name: image.path for name, image in files.images.items()}
    if isinstance(files.mask, Path):
        places["mask"] = files.mask
    for number, mask in enumerate(files.mask if isinstance(files.mask, tuple) else (), start=1):
        places[f"mask {number}, label {mask.label}"] = mask.path
    places |= {"tags": files.tags} if isinstance(files.tags, Path) else {}
    digests = {path: hash_image(path, files.id) for path in set(places.values())}
    hashes = {role: digests[path] for role, path in places.items()}
    if files.mask == ():
        hashes["mask"] = "empty"
    if isinstance(files.tags, SliceTags):
        text = json.dumps([files.tags.cells, files.tags.labels])
        hashes["tags"] = hashlib.sha256(text.encode()).hexdigest()
    return hashes


def hash_image(path: Path, case: str) -> str:
    """Return the SHA-256 of the file, or of all files, that an image consists of.

    Args:
        path: A file or folder that :mod:`wsseg.data.readers` reads.
        case: Name of the case, for the message.

    Raises:
        InputError: A file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in files_of(path):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(
            f"{path} (case {case}): cannot be read ({error.strerror}); correct the path"
        ) from None
    return digest.hexdigest()


def hash_volume(volume: NDArray[Any]) -> str:
    """Hash some voxels of a volume; the hash is the same in any file and type that holds it.

    Of evenly spaced voxels: reading and hashing all of them would cost a tenth of a second more.
    Of few planes all are looked at, since the first ones often show nothing.
    """
    x, y, z = (max(1, min(EVERY_NTH, length // LEAST_PLANES)) for length in volume.shape)
    sample = np.ascontiguousarray(volume[::x, ::y, ::z], np.float32)
    return hashlib.sha256(str(volume.shape).encode() + sample.tobytes()).hexdigest()


def hash_labels(volume: NDArray[Any], box: tuple[slice, ...]) -> str | None:
    """Hash the labels of a mask; the hash is the same in any file and type that holds them.

    Args:
        volume: [X, Y, Z].
        box: What holds all labels but 0.

    Returns:
        The hash; None of a mask that is empty.
    """
    inside = np.ascontiguousarray(volume[box], np.float32)
    if not inside.any():
        return None
    return hashlib.sha256(f"{volume.shape} {box}".encode() + inside.tobytes()).hexdigest()
