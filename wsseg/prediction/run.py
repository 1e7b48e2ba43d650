"""From raw images to masks, pictures and a table, case by case."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from wsseg.data.labels import PREDICTED_MASKS, mask_labels
from wsseg.data.layouts import CaseFiles
from wsseg.data.readers import COLOURS
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.checks import check_images, check_targets, warn_of_pixels
from wsseg.prediction.compressed import Compressor
from wsseg.prediction.dicom_seg import check_dicom, check_highdicom
from wsseg.prediction.findings import Finding, say_empty, write_findings
from wsseg.prediction.finishing import finish
from wsseg.prediction.inference import predict_slices
from wsseg.prediction.label_files import write_label_files
from wsseg.prediction.memory import within_memory
from wsseg.prediction.output import PICTURES, TABLE
from wsseg.prediction.pipeline import read_ahead, write_behind
from wsseg.prediction.raw import RawCase, read_raw_case
from wsseg.prediction.sources import find_raw_cases
from wsseg.prediction.writing import Extras, Prediction, Written, write_prediction
from wsseg.utils.errors import InputError, attempt, first_of, partition, results


def predict_cases(
    module: SliceModule,
    source: Path,
    output: Path,
    layout: str | None,
    batch_size: int,
    extras: Extras,
) -> list[Path]:
    """Write a mask and a picture for every case, and a table of all; see ``predict``.

    Args:
        module: Module in evaluation mode, on the device to use.
        source: The raw images.
        output: Folder to write to.
        layout: How the images are listed or named; None to detect it.
        batch_size: Slices per forward pass.
        extras: What to write on request.

    Returns:
        The masks, in the order of the cases.

    Raises:
        InputError: The images cannot be used.
    """
    spec = module.spec
    if extras.dicom_seg:
        check_highdicom()
    large = Compressor(spec, module.device) if spec.cell is not None else None
    named = replace(spec, modalities=COLOURS) if large else spec  # as files have them
    cases, lacking = find_raw_cases(source, layout, named)
    numbers = mask_labels(spec.classes)
    check_targets(source, cases, output, numbers if extras.probabilities else {})
    check = large.check if large else partial(check_images, spec=spec)
    sound, faults = partition(attempt(check, case) for case in cases)
    if large is None:
        warn_of_pixels(sound, spec)
    if extras.dicom_seg:
        sound, others = partition(attempt(check_dicom, case) for case in sound)
        faults += others
    if sound:
        write_label_files(numbers, output)
    made = write_masks(module, sound, output, batch_size, extras)
    written, unusable = partition(_with_progress(made, len(sound)))
    findings = [each for case in written for each in case.findings]
    if written:
        write_findings(findings, output / TABLE)
        warn_of_misfits(written)
        _report(findings, list(spec.classes), output, len(lacking) + len(faults) + len(unusable))
    return results([*lacking, *faults, *unusable, *(case.mask for case in written)])


def write_masks(
    module: SliceModule,
    cases: Iterable[CaseFiles],
    output: Path,
    batch_size: int,
    extras: Extras = Extras(),
) -> Iterator[Written | InputError]:
    """Read cases, run a module over them and write masks and pictures, case by case.

    Args:
        module: Module in evaluation mode, on the device to use.
        cases: Files of each case.
        output: Folder to write to.
        batch_size: Slices per forward pass.
        extras: What to write on request.

    Yields:
        What was written of each case, or why its images cannot be used.
    """
    spec = module.spec
    beside = module.device.type != "cpu"
    large = spec.cell is not None
    reader = Compressor(spec, module.device).read if large else partial(read_raw_case, spec=spec)

    def read(files: CaseFiles) -> RawCase | InputError:
        guarded = within_memory(files.paths[0], files.id)(reader)
        return attempt(guarded, files)

    def write(found: _Found | InputError) -> Written | InputError:
        if isinstance(found, InputError):
            return found
        guarded = within_memory(found.case.path, found.case.id)(_write)
        return attempt(guarded, module, found, output, extras)

    raw = read_ahead(read, cases, beside)
    return write_behind(write, _forward(module, raw, batch_size), beside)


class _Found(NamedTuple):
    """A case and what the module says about it."""

    case: RawCase
    probability: Tensor  # [S, C, H, W]


def _forward(
    module: SliceModule, cases: Iterator[RawCase | InputError], batch_size: int
) -> Iterator[_Found | InputError]:
    for case in cases:
        if isinstance(case, InputError):
            yield case
        else:
            guarded = within_memory(case.path, case.id)(predict_slices)
            found = attempt(guarded, module, case.image, case.valid, batch_size)
            yield found if isinstance(found, InputError) else _Found(case, found)


def _write(module: SliceModule, found: _Found, output: Path, extras: Extras) -> Written:
    case, probability = found
    finished = finish(module, probability, case.image, case.valid)
    prediction = Prediction(case, probability, finished)
    return write_prediction(prediction, module.spec, module.threshold, output, extras)


def _with_progress(
    written: Iterator[Written | InputError], total: int
) -> Iterable[Written | InputError]:
    from rich.console import Console
    from rich.progress import track

    return track(written, "Predicting", total=total, console=Console(stderr=True))


def warn_of_misfits(written: Sequence[Written]) -> None:
    """Warn of cases that do not look like those of training, by the first of them."""
    notes = [f"{case.findings[0].case}: {case.note}" for case in written if case.note]
    if notes:
        some = f"{len(notes)} of {len(written)} cases"
        warnings.warn(
            f"{some} may be predicted wrongly, since they do not look like those of training; "
            f"{first_of(notes)} (column `note` of {TABLE})",
            stacklevel=4,
        )


def _report(
    findings: Sequence[Finding], classes: Sequence[str], output: Path, skipped: int
) -> None:
    """Say where everything is, what the labels mean, and what was not found."""
    from rich.console import Console

    labels = sorted({(each.label, each.class_name) for each in findings})
    count = len(findings) // len(classes)
    note = f"; {skipped} could not be used" if skipped else ""
    lines = [
        f"{output} holds {PREDICTED_MASKS}, {PICTURES} and {TABLE} of {count} "
        f"case{'s' * (count != 1)}{note}",
        f"Mask labels: 0 background, {', '.join(f'{number} {name}' for number, name in labels)}",
        *say_empty(findings, classes),
    ]
    Console(stderr=True).print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
