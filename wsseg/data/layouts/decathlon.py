"""Medical Segmentation Decathlon folders: 4D NIfTI files and a ``dataset.json``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wsseg.data.layouts.cases import (
    CaseFiles,
    CaseList,
    ImageFile,
    choose_modalities,
    sorted_cases,
)
from wsseg.data.readers import is_readable, stem
from wsseg.data.spec import is_flair
from wsseg.utils.documents import read_document
from wsseg.utils.errors import InputError

LABEL = re.compile("[0-9]+")
DESCRIPTION = "dataset.json"
# Names that BraTS folders use too, so that a checkpoint can read both layouts.
SYNONYMS = {"t1w": "T1", "t1gd": "T1ce", "t2w": "T2", "flair": "FLAIR"}
DECATHLON_EXAMPLE = "image files listed under `training` in dataset.json"


def find_cases(source: Path, modalities: Sequence[str] | None = None) -> CaseList:
    """Find the cases of a Decathlon task.

    Args:
        source: The folder that holds ``dataset.json`` (its ``training`` cases, or its ``test``
            cases if there are no others), that file, or a folder of images beside it.
        modalities: Names in the order of the channels; by default all, in the order of the file.
            The BraTS channels are called T1, T1ce, T2 and FLAIR.

    Returns:
        The cases. If the task is brain tumours, all labels make the class ``tumour``; else every
        label is a class.

    Raises:
        InputError: The description cannot be read or lists no case.
    """
    path = describing_file(source)
    content = read_document(path)
    names, labels = _modalities(path, content), _labels(path, content)
    listed = list(_listed(source, path, content))
    chosen = choose_modalities(path, modalities, names)
    cases = (_case(image, mask, names, chosen) for image, mask in listed)
    found = sorted_cases(path, cases, DECATHLON_EXAMPLE)
    return CaseList(chosen, _classes(labels, names), frozenset(labels) | {0}, found)


def describing_file(source: Path) -> Path:
    """Return the ``dataset.json`` of a task's folder, or of its folder of images."""
    for path in (source, source / DESCRIPTION, source.parent / DESCRIPTION):
        if path.name == DESCRIPTION and path.is_file():
            return path
    raise InputError(f"{source}: has no {DESCRIPTION}; give the folder of a Decathlon task")


def _modalities(path: Path, content: dict[str, Any]) -> list[str]:
    named = content.get("modality")
    names = [named.get(str(n)) for n in range(len(named))] if isinstance(named, dict) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(
            f'{path}: `modality` must name the channels in order, such as {{"0": "FLAIR"}}'
            "; correct it"
        )
    return [SYNONYMS.get(str(name).lower(), str(name)) for name in names]


def _labels(path: Path, content: dict[str, Any]) -> dict[int, str]:
    named = content.get("labels")
    # Python's int takes 1_0 for 10.
    if not isinstance(named, dict) or not all(LABEL.fullmatch(str(value)) for value in named):
        raise InputError(
            f'{path}: `labels` must name the labels of masks, such as {{"0": "background", '
            '"1": "tumour"}; correct it'
        )
    return {int(value): str(name) for value, name in named.items()}


def _listed(
    source: Path, path: Path, content: dict[str, Any]
) -> Iterator[tuple[Path, Path | None]]:
    entries, tested = content.get("training", []), content.get("test", [])
    if not isinstance(entries, list) or not isinstance(tested, list):
        raise InputError(f"{path}: `training` and `test` must be lists of files; correct them")
    training = [
        (_file(path, number, entry, "image"), _mask(path, number, entry))
        for number, entry in enumerate(entries, start=1)
    ]
    if source != path and path.parent != source:
        masks = {image.resolve(): mask for image, mask in training}
        for image in sorted(p for p in source.glob("[!.]*") if is_readable(p)):
            yield image, masks.get(image.resolve())
    elif training:
        yield from training
    else:
        if not all(isinstance(name, str) and name for name in tested):
            raise InputError(f"{path}: `test` must be a list of files; correct it")
        yield from ((path.parent / name, None) for name in tested)


def _file(path: Path, number: int, entry: Any, key: str) -> Path:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str) or not entry[key]:
        raise InputError(
            f"{path}: entry {number} of `training` has no file as its `{key}`; correct the entry"
        )
    return path.parent / str(entry[key])


def _mask(path: Path, number: int, entry: dict[str, Any]) -> Path | None:
    """Return the mask of an entry; prediction needs none."""
    return None if entry.get("label") is None else _file(path, number, entry, "label")


def _case(image: Path, mask: Path | None, names: list[str], chosen: tuple[str, ...]) -> CaseFiles:
    name = stem(image)
    channels = {n: None if len(names) == 1 else names.index(n) for n in chosen}
    return CaseFiles(name, {n: ImageFile(image, channels[n]) for n in chosen}, mask)


def _classes(labels: dict[int, str], modalities: list[str]) -> dict[str, tuple[int, ...]]:
    foreground = {value: name for value, name in sorted(labels.items()) if value != 0}
    # Not so for hepatic vessels, where the labels are vessel and tumour.
    if any(map(is_flair, modalities)) and any(
        "tumo" in name.lower() for name in foreground.values()
    ):
        return {"tumour": tuple(foreground)}
    classes: dict[str, tuple[int, ...]] = {}
    for value, name in foreground.items():  # several labels may have one name
        classes[name] = (*classes.get(name, ()), value)
    return classes
