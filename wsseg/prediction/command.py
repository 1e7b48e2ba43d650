"""``wsseg predict``: masks for raw volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from wsseg.checkpoints.loading import load_module
from wsseg.data.layouts import CaseFiles
from wsseg.data.spec import DataSpec
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.checks import check_images, check_options, check_targets, warn_of_pixels
from wsseg.prediction.finishing import finish
from wsseg.prediction.inference import choose_device, predict_slices
from wsseg.prediction.nifti import label_volume, save_labels
from wsseg.prediction.overview import overview
from wsseg.prediction.pipeline import read_ahead, write_behind
from wsseg.prediction.raw import RawCase, find_raw_cases, read_raw_case
from wsseg.utils.errors import InputError, attempt, partition, results
from wsseg.visualisation.sheet import save_png


class Prediction(NamedTuple):
    """A case and what the module says about it."""

    case: RawCase
    probability: Tensor  # [S, C, H, W]


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
) -> list[Path]:
    """Write a mask and a picture for every case of raw volumes.

    Cases whose volumes cannot be used are named together at the end and stop no other case.

    The checkpoint knows modalities, normalisation, slicing and classes; nothing is prepared by
    hand. Each mask ``<case>.nii.gz`` lies on the voxels of its case's first modality. One class
    gives 0 and 1; of several classes, number n in the order of training has the label n. Where
    nested classes overlap the innermost one shows, of others the last. ``<case>.png`` shows some
    slices, and the volume of each class, overlaps included.

    Args:
        ckpt_path: Checkpoint that ``wsseg fit`` wrote.
        input: Folder of one case or of many, or a datalist file. For checkpoints that take one
            modality, also an image of any name and format, or a folder of some.
        output: Folder for masks and pictures; files of the same names are replaced.
        layout: How the volumes are named: brats, decathlon, lgg or datalist. By default
            detected.
        device: Where to compute: auto, cpu, cuda, cuda:1, ...
        batch_size: Slices per forward pass.
        threshold: Probability above which a voxel belongs to a class; by default the
            checkpoint's own.
        refinement: Strength of border refinement by each patient's own intensities; 0 leaves
            borders as predicted. By default the checkpoint's own.
        smallest_component: Least volume of a component of a mask, as a share of the largest one's;
            0 keeps all. By default the checkpoint's own.

    Returns:
        The masks, in the order of the cases.

    Raises:
        InputError: The checkpoint or the volumes cannot be used.
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
    cases, lacking = find_raw_cases(input, layout, spec)
    check_targets(cases, output)
    sound, faults = partition(attempt(check_images, case, spec) for case in cases)
    warn_of_pixels(sound, spec)
    masks = write_masks(module, sound, output, batch_size)
    skipped = len(lacking) + len(faults)
    written = _with_progress(masks, len(sound), output, list(spec.classes), skipped)
    return results([*lacking, *faults, *written])


def write_masks(
    module: SliceModule,
    cases: Iterable[CaseFiles],
    output: Path,
    batch_size: int,
) -> Iterator[Path | InputError]:
    """Read cases, run a module over them and write masks and pictures, case by case.

    Args:
        module: Module in evaluation mode, on the device to use.
        cases: Files of each case.
        output: Folder to write to.
        batch_size: Slices per forward pass.

    Yields:
        Each mask file, or why the volumes of a case cannot be used.
    """
    spec = module.spec
    threshold = module.threshold
    beside = module.device.type != "cpu"

    def read(files: CaseFiles) -> RawCase | InputError:
        return attempt(read_raw_case, files, spec)

    def write(prediction: Prediction | InputError) -> Path | InputError:
        if isinstance(prediction, InputError):
            return prediction
        case, probability = prediction
        finished = finish(module, probability, case.image, case.valid)
        return write_prediction(Prediction(case, finished), spec, threshold, output)

    raw = read_ahead(read, cases, beside)
    return write_behind(write, _forward(module, raw, batch_size), beside)


def write_prediction(
    prediction: Prediction, spec: DataSpec, threshold: float, output: Path
) -> Path:
    """Write the mask and the picture of one case.

    Args:
        prediction: The case and its probabilities.
        spec: The data specification of the checkpoint.
        threshold: Probability above which a voxel belongs to a class.
        output: Folder to write to.

    Returns:
        The mask file.
    """
    case = prediction.case
    masks = case.mask_of(prediction.probability, threshold)
    voxel_ml = abs(float(np.linalg.det(case.source.affine[:3, :3]))) / 1000.0
    volumes = [np.count_nonzero(mask) * voxel_ml for mask in masks]
    sizes = ", ".join(f"{n} {ml:.1f} ml" for n, ml in zip(spec.classes, volumes, strict=True))
    shown = spec.flair or 0
    picture = overview(
        case.image[:, shown].numpy(),
        case.valid.numpy(),
        (prediction.probability > threshold).numpy(),
        modality=spec.modalities[shown],
        classes=list(spec.classes),
        title=f"{case.id}: {sizes}",
        aspect=case.geometry.spacing[0] / case.geometry.spacing[1],
    )
    save_png(picture, output / f"{case.id}.png")
    return save_labels(label_volume(masks, spec.classes), case.source, output / f"{case.id}.nii.gz")


def _forward(
    module: SliceModule, cases: Iterator[RawCase | InputError], batch_size: int
) -> Iterator[Prediction | InputError]:
    for case in cases:
        if isinstance(case, InputError):
            yield case
        else:
            yield Prediction(case, predict_slices(module, case.image, case.valid, batch_size))


def _with_progress(
    masks: Iterator[Path | InputError],
    total: int,
    output: Path,
    classes: Sequence[str],
    skipped: int,
) -> list[Path | InputError]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    outcomes = list(track(masks, "Predicting", total=total, console=console))
    if count := sum(isinstance(outcome, Path) for outcome in outcomes):
        labels = ", ".join(f"{number} {name}" for number, name in enumerate(classes, start=1))
        skipped += total - count
        note = f", {skipped} could not be used" if skipped else ""
        message = (
            f"Masks and pictures of {count} case{'s' * (count != 1)} are in {output}{note}\n"
            f"Mask labels: 0 background, {labels}"
        )
        console.print(message, soft_wrap=True, markup=False, highlight=False)
    return outcomes
