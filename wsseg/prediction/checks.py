"""Checks of options and files before anything is predicted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsseg.data.file_checks import check_files
from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.labels import SLICER_FILE
from wsseg.data.layouts import CaseFiles
from wsseg.data.readers import read_header
from wsseg.data.spec import DataSpec, format_pixel
from wsseg.prediction.memory import check_memory
from wsseg.prediction.output import SHARED_FILES, files_of_case
from wsseg.utils.errors import InputError, first_of
from wsseg.utils.files import check_writable


def check_options(
    batch_size: int,
    threshold: float | None,
    refinement: float | None,
    smallest_component: float | None,
) -> None:
    """Refuse options that are out of range.

    Args:
        batch_size: Slices per forward pass.
        threshold: Probability above which a voxel belongs to a class, if it was given.
        refinement: Strength of border refinement, if it was given.
        smallest_component: Least volume of a component, as a share of the largest one's, if it was
            given.

    Raises:
        InputError: An option is out of range.
    """
    if batch_size < 1:
        raise InputError(f"--batch_size {batch_size}: must be at least 1")
    if threshold is not None and not 0.0 <= threshold < 1.0:
        raise InputError(f"--threshold {threshold:g}: must be at least 0 and below 1")
    if refinement is not None and not 0.0 <= refinement < math.inf:
        raise InputError(f"--refinement {refinement:g}: must be a finite number, at least 0")
    if smallest_component is not None and not 0.0 <= smallest_component <= 1.0:
        raise InputError(f"--smallest_component {smallest_component:g}: must be from 0 to 1")


def check_images(case: CaseFiles, spec: DataSpec) -> CaseFiles:
    """Refuse a case that cannot be predicted, as its headers tell.

    Args:
        case: The case; its mask and its tags do not matter.
        spec: The data specification of the checkpoint.

    Returns:
        The case.

    Raises:
        InputError: An image cannot be used.
    """
    header = check_files(replace(case, mask=None, tags=None), spec.classes, spec.axis)
    check_memory(case.paths[0], case.id, header, spec)
    return case


def warn_of_pixels(cases: Sequence[CaseFiles], spec: DataSpec) -> None:
    """Warn of cases whose pixels are of another size than those that were trained on.

    Args:
        cases: Cases that can be predicted.
        spec: The data specification of the checkpoint.
    """
    if spec.pixel is None or spec.spacing is not None:  # no header need be read again
        return
    others: list[str] = []
    for case in cases:
        path = next(iter(case.images.values())).path
        source = read_header(path, case.id)
        if source.unit == "mm":
            pixel = whole_plane_geometry(source.shape, source.affine, spec.axis, None).pixel
            if spec.ignores_pixel_size(pixel):
                others.append(f"{path}: pixels are {format_pixel(pixel)}")
    if others:
        warnings.warn(
            f"{first_of(others)}, but the checkpoint was trained on {format_pixel(spec.pixel)} and "
            "treats them all alike; train it on a store that was prepared with --spacing",
            stacklevel=2,
        )


def check_targets(
    source: Path, cases: Sequence[CaseFiles], output: Path, probabilities: Mapping[str, int]
) -> None:
    """Refuse to write over a file of any case, or over masks that somebody else made.

    Masks are looked at too: folders of data sets often hold drawn ones in ``masks``, under the very
    names that predicted ones get.

    Args:
        source: What the cases were found in.
        cases: The cases, with all that is listed of them.
        output: Folder to write to.
        probabilities: The label of each class whose probabilities are written, too.

    Raises:
        InputError: Nothing can be written there, or a file would replace an image, a mask or a
            table of tags, or one that no prediction wrote.
    """
    check_writable(output)
    inputs = {source.resolve(), *(path.resolve() for case in cases for path in case.paths)}
    files = [name for case in cases for name in files_of_case(case.id, probabilities)]
    own = (output / SLICER_FILE).is_file()  # written first of all
    for target in (output / name for name in (*SHARED_FILES, *files)):
        if target.resolve() in inputs:
            raise InputError(
                f"{target}: would overwrite an input file (image, mask or tags); "
                "give another folder as --output"
            )
        if not own and target.exists():
            raise InputError(
                f"{target}: exists, and no prediction wrote it; give another folder as --output"
            )
