"""Finds the cases to predict: in a layout that ``wsseg prepare`` reads, or images by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsseg.data.case_ids import check_id
from wsseg.data.labels import SLICER_FILE
from wsseg.data.layouts import CaseFiles, ImageFile, detect, find_cases
from wsseg.data.layouts.channels import channels_of
from wsseg.data.layouts.grouping import group
from wsseg.data.readers import images_below, is_readable, read_header, stem
from wsseg.data.spec import DataSpec
from wsseg.prediction.output import OUTPUT_FOLDERS
from wsseg.utils.errors import InputError, attempt, partition


def find_raw_cases(
    source: Path, layout: str | None, spec: DataSpec
) -> tuple[Sequence[CaseFiles], list[InputError]]:
    """Find the cases that have every modality of a checkpoint, and say what others lack.

    Args:
        source: Folder of one case or of many, a file that lists them, an image that is a case by
            itself, or a folder of such.
        layout: Name of the layout; None to find it out.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: There is no case.
    """
    if source.name in ("", ".."):  # ids are made from names
        source = source.resolve()
    try:
        name = layout or detect(source)
    except InputError as unknown:
        images = _images(source)
        if not images:
            raise unknown from None
        return lone_images(source, images, spec)
    if name == "folders":  # here it does not matter what images are tagged with
        return lone_images(source, _images(source), spec)
    needed = f"(the checkpoint takes {', '.join(spec.modalities)})"
    try:
        listed = find_cases(name, source, spec.modalities)
    except InputError as error:
        raise InputError(f"{error} {needed}") from None
    return listed.cases, [InputError(f"{fault} {needed}") for fault in listed.faults]


def _images(source: Path) -> list[Path]:
    """Return an image, or those of a folder and of all below it, without predictions."""
    if not source.is_dir():
        return [source] if is_readable(source) else []
    return [path for path in images_below(source) if not _is_predicted(source, path)]


def _is_predicted(source: Path, image: Path) -> bool:
    return any(
        folder.name in OUTPUT_FOLDERS and (folder.parent / SLICER_FILE).is_file()
        for folder in (image, *image.parents)
        if source in folder.parents
    )


def lone_images(
    source: Path, images: Sequence[Path], spec: DataSpec
) -> tuple[list[CaseFiles], list[InputError]]:
    """Make a case of each image; its id is its path below the source, without the suffix.

    Args:
        source: Folder of the images, or the only image.
        images: The images.
        spec: The data specification of the checkpoint.

    Returns:
        The cases, sorted by id, and why other images cannot be used.
    """
    cases, faults = partition(
        attempt(_lone_case, source, path, spec) for path in _without_masks(source, images)
    )
    first: dict[str, CaseFiles] = {}
    for case in cases:
        if first.setdefault(case.id, case) is not case:
            faults.append(
                InputError(
                    f"{case.paths[0]}: has the name of {first[case.id].paths[0].name}, and masks "
                    "are named alike; rename or remove one"
                )
            )
    return sorted(first.values(), key=lambda case: case.id), faults


def _lone_case(source: Path, path: Path, spec: DataSpec) -> CaseFiles:
    lone = path.parent == source.parent  # the source itself, or a series of it
    place = Path() if lone else path.relative_to(source).parent
    name = (place / stem(path)).as_posix()
    check_id(path, name)
    channels = channels_of([ImageFile(path)], spec.modalities)
    if not set(spec.modalities) <= set(channels):
        count = read_header(path, name).channels
        raise InputError(
            f"{path}: is a single image of {count} channel{'s' * (count > 1)}, but the checkpoint "
            f"takes {', '.join(spec.modalities)}; list the files of each case in a table "
            "(`image:NAME`)"
        )
    return CaseFiles(name, {each: ImageFile(path, channels[each]) for each in spec.modalities})


def _without_masks(source: Path, images: Sequence[Path]) -> list[Path]:
    """Leave out the drawn masks of images, which are known by their names as in ``wsseg init``."""
    masks = {mask for case in group(source, images) for mask in case.masks.values()}
    return [path for path in images if path not in masks]
