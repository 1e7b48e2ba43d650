"""A folder for each class, and one for the images without findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    MaskFile,
    choose_modalities,
    sorted_cases,
    with_empty_masks,
)
from wsseg.data.layouts.channels import channels_of
from wsseg.data.readers import images_below, stem
from wsseg.data.tags import SliceTags
from wsseg.utils.errors import InputError

UNTAGGED = re.compile(
    r"(no|non|without)[ _-].+|0|no|none|nofindings?|normals?|neg|negatives?|healthy|controls?"
    r"|background|untagged",
    re.IGNORECASE,
)
MASK = re.compile(r"(.+)_mask(_\d+)?")  # of one image there may be several
FOLDERS_EXAMPLE = "images in a folder for each class, and in one such as `normal`"


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Find the cases of a folder of folders, each of which is named after what its images show.

    Images may lie at any depth. Masks lie beside them: of ``17.png``, ``17_mask.png``, or several:
    ``17_mask_1.png`` and so on.

    Args:
        source: The folder.
        modalities: Names in the order of the channels. By default colour pictures have the
            modalities red, green and blue, and grey images one that is called ``image``.

    Returns:
        The cases, of which each is tagged as a whole. The classes have the labels 1, 2, ... in the
        order of the alphabet.

    Raises:
        InputError: There is no folder of images without findings, or more than one, or none of
            others.
    """
    folders = _folders(source)
    classes, problem = _classes(folders)
    if problem:
        found = ", ".join(f"`{name}`" for name in folders) or "none"
        raise InputError(
            f"{source}: {problem} (folders of images: {found}); rename or join folders, or list "
            "the images in a table"
        )
    labels: dict[str, tuple[int, ...]] = {
        name: (number,) for number, name in enumerate(classes, start=1)
    }
    paths = [ImageFile(image) for images in folders.values() for image in images]
    channels = channels_of(paths, modalities)
    chosen = choose_modalities(source, modalities, channels)
    cases = []
    for folder, images in folders.items():
        tags = SliceTags(str(source / folder), {n: str(int(n == folder)) for n in labels}, labels)
        for image, masks in images.items():
            name = (image.relative_to(source).parent / stem(image)).as_posix()
            files = {modality: ImageFile(image, channels[modality]) for modality in chosen}
            shown = tuple(MaskFile(mask, *labels.get(folder, (1,))) for mask in masks)
            cases.append(CaseFiles(name, files, shown or None, tags))
    listed = sorted_cases(source, with_empty_masks(cases), FOLDERS_EXAMPLE)
    return CaseList(chosen, labels, None, listed)


def follows(source: Path) -> bool:
    """Tell whether a folder holds folders of images, one of which is without findings."""
    return not _classes(_folders(source))[1]


def _classes(folders: Iterable[str]) -> tuple[list[str], str | None]:
    """Return the folders with findings, and what is wrong if it cannot be told which these are."""
    untagged = [name for name in folders if UNTAGGED.fullmatch(name)]
    classes = [name for name in folders if name not in untagged]
    if len(untagged) > 1:
        return classes, "has several folders of images without findings"
    if not untagged:
        return classes, "has no folder of images without findings, such as `normal`"
    return classes, None if classes else "has no folder of images with a finding"


def _folders(source: Path) -> dict[str, dict[Path, list[Path]]]:
    """Return the images of each folder that holds any, and the masks of each image."""
    folders = {}
    for folder in sorted(source.glob("[!.]*/")):
        files = images_below(folder)
        images = {file.with_name(stem(file)): file for file in files}
        masks: dict[Path, list[Path]] = {}
        for file in files:
            match = MASK.fullmatch(stem(file))
            image = images.get(file.with_name(match[1])) if match else None
            if image:
                masks.setdefault(image, []).append(file)
        shown = {path for paths in masks.values() for path in paths}
        if files:
            folders[folder.name] = {f: masks.get(f, []) for f in files if f not in shown}
    return folders
