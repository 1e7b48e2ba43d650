"""Finds the cases to predict: in a layout that ``wsseg prepare`` reads, or images by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wsseg.data.case_ids import check_id
from wsseg.data.layouts import CaseFiles, ImageFile, detect, find_cases
from wsseg.data.layouts.channels import channels_of
from wsseg.data.layouts.folders import MASK
from wsseg.data.readers import images_in, is_readable, read_header, stem
from wsseg.data.spec import DataSpec
from wsseg.prediction.label_files import SLICER_FILE
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
        images = list(images_below(source))
        if not images:
            raise unknown from None
        return lone_images(source, images, spec)
    if name == "folders":  # here it does not matter what images are tagged with
        return lone_images(source, list(images_below(source)), spec)
    needed = f"(the checkpoint takes {', '.join(spec.modalities)})"
    try:
        listed = find_cases(name, source, spec.modalities)
    except InputError as error:
        raise InputError(f"{error} {needed}") from None
    return listed.cases, [InputError(f"{fault} {needed}") for fault in listed.faults]


def images_below(source: Path) -> Iterator[Path]:
    """Yield the images of a folder and of all below it, without hidden ones and predictions.

    Args:
        source: The folder, or an image.
    """
    if not source.is_dir():
        if is_readable(source):
            yield source
        return
    written = OUTPUT_FOLDERS if (source / SLICER_FILE).is_file() else ()
    yield from images_in(source)
    for path in sorted(source.glob("[!.]*/")):
        if path.name not in written:
            yield from images_below(path)


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
        attempt(_lone_case, source, path, spec) for path in _without_masks(images)
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


def _without_masks(images: Sequence[Path]) -> list[Path]:
    """Leave out the drawn masks that lie beside their images, as ``wsseg prepare`` knows them."""
    stems = {path.with_name(stem(path)) for path in images}
    masks = {path: MASK.fullmatch(stem(path)) for path in images}
    return [path for path, m in masks.items() if not (m and path.with_name(m[1]) in stems)]
