"""What can be refused before anything is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wsseg.data.file_checks import check_files
from wsseg.data.layouts import CaseFiles
from wsseg.data.spec import DataSpec
from wsseg.errors import InputError
from wsseg.files import check_writable


def check_options(
    batch_size: int,
    threshold: float | None,
    sharpening: float | None,
    smallest_component: float | None,
) -> None:
    """Refuse options that are out of range.

    Args:
        batch_size: Slices per forward pass.
        threshold: Probability above which a voxel belongs to a class, if it was given.
        sharpening: Weight of a patient's own intensities, if it was given.
        smallest_component: Least volume of a component, as a share of the largest one's, if it was
            given.

    Raises:
        InputError: An option is out of range.
    """
    if batch_size < 1:
        raise InputError(f"--batch_size {batch_size}: must be at least 1")
    if threshold is not None and not 0.0 <= threshold < 1.0:
        raise InputError(f"--threshold {threshold:g}: must be at least 0 and below 1")
    if sharpening is not None and not sharpening >= 0.0:
        raise InputError(f"--sharpening {sharpening:g}: must be at least 0")
    if smallest_component is not None and not 0.0 <= smallest_component <= 1.0:
        raise InputError(f"--smallest_component {smallest_component:g}: must be from 0 to 1")


def check_images(case: CaseFiles, spec: DataSpec) -> CaseFiles:
    """Refuse a case of which the headers tell that it cannot be predicted.

    Args:
        case: The case; its mask and its tags do not matter.
        spec: The data specification of the checkpoint.

    Returns:
        The case.

    Raises:
        InputError: An image cannot be used.
    """
    check_files(replace(case, mask=None, tags=None), list(spec.classes), spec.axis)
    return case


def check_targets(cases: Sequence[CaseFiles], output: Path) -> None:
    """Refuse to write over a file of any case.

    Masks are looked at too: ``labelsTr`` of a Decathlon task holds drawn masks under the very
    names that predicted ones get.

    Args:
        cases: The cases, with all that is listed of them.
        output: Folder to write to.

    Raises:
        InputError: Nothing can be written there, or a mask or picture would replace an image, a
            mask or a table of tags.
    """
    check_writable(output)
    inputs = {path.resolve() for case in cases for path in case.paths}
    for case in cases:
        for target in (output / f"{case.id}.nii.gz", output / f"{case.id}.png"):
            if target.resolve() in inputs:
                raise InputError(
                    f"{target}: is an image, a mask or tags of a case; "
                    "give another folder as --output"
                )
