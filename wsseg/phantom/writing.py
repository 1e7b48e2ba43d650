"""The phantom on disk: a folder in the layout of BraTS."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsseg.utils.errors import InputError

PHANTOM_RECORD = ".phantom.json"
"""Hidden file that says how a folder was made, so that a second run knows whether it may resume."""


def write_phantom(
    out: Path,
    *,
    cases: int = 40,
    seed: int = 0,
    spacing: float = 2.0,
    workers: int | None = None,
) -> Path:
    """Write a synthetic data set of brain tumour patients in the layout of BraTS.

    Cases that are already there are kept, so an interrupted run resumes where it stopped.

    Args:
        out: Folder to write: `<case>/<case>_t1.nii.gz`, `_t1ce`, `_t2`, `_flair` and `_seg`
            (labels 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing).
        cases: Number of patients.
        seed: The same seed and case number always give the same patient.
        spacing: Voxel size in mm; the anatomy is the same at any size.
        workers: Patients made at the same time; by default one per processor core.

    Returns:
        The folder.

    Raises:
        InputError: If an argument is out of range or the folder holds something else.
    """
    from rich.progress import track

    out = Path(out)
    _check(cases, seed, spacing, workers)
    names = [f"phantom_{number:04d}" for number in range(cases)]
    _claim(out, names, {"seed": seed, "spacing": spacing})
    todo = [n for n, name in enumerate(names) if not (out / name).is_dir()]
    if not todo:
        return out
    written = _each(out, names, todo, seed, spacing, workers or len(os.sched_getaffinity(0)))
    for _ in track(written, "Phantom", total=len(todo)):
        pass
    return out


def _check(cases: int, seed: int, spacing: float, workers: int | None) -> None:
    if cases < 1:
        raise InputError(f"--cases {cases}: must be at least 1")
    if seed < 0:
        raise InputError(f"--seed {seed}: must be at least 0")
    if not 0.5 <= spacing <= 8:
        raise InputError(f"--spacing {spacing:g}: must be from 0.5 to 8 mm")
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")


def _claim(out: Path, names: list[str], settings: dict[str, float]) -> None:
    """Make the folder ours, or refuse one that holds anything else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder to write to")
    record = out / PHANTOM_RECORD
    found = _read_record(record) if record.is_file() else None
    visible = sorted(p.name for p in out.glob("[!.]*")) if out.is_dir() else []
    if found not in (None, settings):
        raise InputError(
            f"{out}: holds a phantom made with other options ({found}); name another folder or "
            "remove it"
        )
    foreign = visible if found is None else sorted(set(visible) - set(names))
    if foreign:
        raise InputError(
            f"{out}: already holds {foreign[0]!r}, which is not part of this phantom; "
            "name another folder or remove it"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(settings) + "\n")
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}; name a folder you may write to") from error


def _read_record(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: is not readable; remove the folder or name another") from error


def _each(
    out: Path, names: list[str], todo: list[int], seed: int, spacing: float, workers: int
) -> Iterator[Path]:
    """Yield each case's folder when it is written.

    Threads suffice: numpy, scipy and zlib release the lock, and all share one atlas.
    """
    from wsseg.phantom.atlas import load_atlas

    load_atlas()
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(write_case, out, names[n], seed, n, spacing) for n in todo]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def write_case(out: Path, name: str, seed: int, number: int, spacing: float) -> Path:
    """Make one patient and write its folder, which appears only when it is complete.

    Args:
        out: The data set's folder.
        name: Name of the case.
        seed: Seed of the data set.
        number: Which patient.
        spacing: Voxel size in mm.

    Returns:
        The case's folder.
    """
    from wsseg.phantom.patient import make_patient

    patient = make_patient(seed, number, spacing)
    folder, partial = out / name, out / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for modality, image in patient.images.items():
            _save(partial / f"{name}_{modality}.nii.gz", image, patient.affine)
        _save(partial / f"{name}_seg.nii.gz", patient.labels, patient.affine)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def _save(path: Path, volume: NDArray[np.integer], affine: NDArray[np.float64]) -> None:
    """Write a compressed NIfTI file with the scanner's frame as its coordinates."""
    import nibabel as nib

    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    # No time stamp in the gzip header: the same patient is the same file, byte for byte.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
