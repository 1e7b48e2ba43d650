"""``wsseg predict``: masks for raw images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from wsseg.checkpoints.loading import load_module
from wsseg.data.layouts import CaseFiles
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.checks import check_images, check_options, check_targets, warn_of_pixels
from wsseg.prediction.dicom_seg import check_dicom, check_highdicom
from wsseg.prediction.findings import Finding, say_empty, write_findings
from wsseg.prediction.finishing import finish
from wsseg.prediction.inference import choose_device, predict_slices
from wsseg.prediction.label_files import write_label_files
from wsseg.prediction.labels import mask_labels
from wsseg.prediction.memory import within_memory
from wsseg.prediction.output import MASKS, PICTURES, TABLE
from wsseg.prediction.pipeline import read_ahead, write_behind
from wsseg.prediction.raw import RawCase, read_raw_case
from wsseg.prediction.sources import find_raw_cases
from wsseg.prediction.writing import Extras, Prediction, Written, write_prediction
from wsseg.utils.errors import InputError, attempt, first_of, partition, results


def predict(
    *,
    ckpt_path: Path,
    input: Path,  # noqa: A002 (the name of the option)
    output: Path,
    layout: str | None = None,
    device: str = "auto",
    batch_size: int = 32,
    threshold: float | None = None,
    refinement: float | None = None,
    smallest_component: float | None = None,
    probabilities: bool = False,
    dicom_seg: bool = False,
) -> list[Path]:
    """Write a mask and a picture for every case of raw images, and a table of all.

    The checkpoint knows modalities, normalisation, slicing and classes; nothing is prepared by
    hand. Cases whose images cannot be used are named together at the end and stop no other case.

    ``masks`` holds label maps on the voxels of each case's first modality: NIfTI for volumes, PNG
    for pictures. Labels are the data set's own numbers; where nested classes overlap the innermost
    one shows. ``pictures`` shows each prediction. ``cases.csv`` has the size of each class in each
    case, ``labels.txt`` and ``labels.ctbl`` tell ITK-SNAP and 3D Slicer the names and colours.

    Args:
        ckpt_path: Checkpoint that ``wsseg fit`` wrote.
        input: Folder of one case or of many, a file that lists cases, an image, or a folder of
            images that each make a case.
        output: Folder to write to; files of an earlier prediction are replaced.
        layout: How the images are listed or named: table, folders, datalist, brats, decathlon or
            lgg. By default detected.
        device: Where to compute: auto, cpu, cuda, cuda:1, ...
        batch_size: Slices per forward pass.
        threshold: Probability above which a voxel belongs to a class; by default the
            checkpoint's own.
        refinement: Strength of border refinement by each patient's own intensities; 0 leaves
            borders as predicted. By default the checkpoint's own.
        smallest_component: Least volume of a component of a mask, as a share of the largest one's;
            0 keeps all. By default the checkpoint's own.
        probabilities: Whether to write the probabilities of the network, too.
        dicom_seg: Whether to write DICOM segmentations, too; all images must be DICOM.

    Returns:
        The masks, in the order of the cases.

    Raises:
        InputError: The checkpoint or the images cannot be used.
    """
    input, output = Path(input), Path(output)  # noqa: A001 - from Python they may be strings
    module = load_module(ckpt_path).to(choose_device(device))
    spec = module.spec
    check_options(batch_size, threshold, refinement, smallest_component)
    if threshold is not None:
        module.threshold = threshold
    given = {"refinement": refinement, "smallest_component": smallest_component}
    changed = {name: value for name, value in given.items() if value is not None}
    module.finishing = replace(module.finishing, **changed)
    if dicom_seg:
        check_highdicom()
    cases, lacking = find_raw_cases(input, layout, spec)
    numbers = mask_labels(spec.classes)
    check_targets(input, cases, output, numbers if probabilities else {})
    sound, faults = partition(attempt(check_images, case, spec) for case in cases)
    warn_of_pixels(sound, spec)
    if dicom_seg:
        sound, others = partition(attempt(check_dicom, case) for case in sound)
        faults += others
    if sound:
        write_label_files(numbers, output)
    extras = Extras(probabilities, dicom_seg)
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

    def read(files: CaseFiles) -> RawCase | InputError:
        guarded = within_memory(files.paths[0], files.id)(read_raw_case)
        return attempt(guarded, files, spec)

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
            stacklevel=3,
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
        f"{output} holds {MASKS}, {PICTURES} and {TABLE} of {count} case{'s' * (count != 1)}{note}",
        f"Mask labels: 0 background, {', '.join(f'{number} {name}' for number, name in labels)}",
        *say_empty(findings, classes),
    ]
    Console(stderr=True).print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
