"""Checks of options, cases and files before any volume is read, and warnings after."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.data.anatomy import SIZE_MULTIPLE
from wsseg.data.file_checks import LONGEST_SIDE
from wsseg.data.layouts.cases import CaseList
from wsseg.data.spec import DataSpec, same_pixel_size
from wsseg.data.store_files import MANIFEST
from wsseg.data.tag_counts import count_tags, doubts_of_levels
from wsseg.utils.errors import InputError, first_of, results
from wsseg.utils.files import check_writable

# Pixels: smoothing and the comparison of both sides have widths in pixels, which suit slices of at
# least this length. Not measured.
SHORTEST_ANATOMY = 70


def check_options(options: dict[str, Any], workers: int | None) -> None:
    """Refuse options that are out of range.

    Args:
        options: Arguments of ``prepare`` by name.
        workers: Number of processes.

    Raises:
        InputError: An option is out of range.
    """
    spacing, size = options["spacing"], options["size"]
    good_size = size is None or (
        len(size) == 2 and all(0 < n <= LONGEST_SIDE and n % SIZE_MULTIPLE == 0 for n in size)
    )
    window, side = options["window"], options["longest_side"]
    good_side = side is None or 0 < side <= LONGEST_SIDE
    good_window = window is None or (
        len(window) == 2 and -math.inf < window[0] < window[1] < math.inf
    )
    rules = [
        ("spacing", spacing is None or 0 < spacing < math.inf, "give millimetres above 0"),
        ("size", good_size, "give height and width, multiples of 16, such as [192, 160]"),
        ("window", good_window, "give two Hounsfield units, such as [-175, 250]"),
        ("longest_side", good_side, f"give pixels, 1 to {LONGEST_SIDE}"),
        ("slice_step", options["slice_step"] >= 1, "give 1 or more"),
        ("min_anatomy", 0 <= options["min_anatomy"] < 1, "give 0 or more and less than 1"),
        ("folds", options["folds"] >= 2, "give 2 or more"),
        ("val_fraction", 0 <= options["val_fraction"] < 1, "give 0 or more and less than 1"),
        ("seed", options["seed"] >= 0, "give 0 or more"),
    ]
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: is out of range; give 1 or more")
    for name, good, advice in rules:
        if not good:
            raise InputError(f"--{name} {options[name]}: is out of range; {advice}")


def check_classes(
    source: Path, listed: CaseList, classes: dict[str, list[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Return the classes to use: those given, or the layout's.

    Args:
        source: Where the cases are, for the message.
        listed: The cases.
        classes: For each class the mask labels that make it.

    Raises:
        InputError: There is no class, or one is made of no label or of one that masks cannot hold.
    """
    chosen = listed.classes if classes is None else {n: tuple(v) for n, v in classes.items()}
    example = "'{\"tumour\": [1]}'"
    if not chosen:
        raise InputError(
            f"{source}: names no class; give --classes {example}, or add a column of 0 and 1 if it "
            "is a table of images"
        )
    for name, labels in chosen.items():
        known_labels = listed.labels or frozenset(labels)
        wrong = [label for label in labels if label not in known_labels or label == 0]
        if wrong or not labels:
            known = ", ".join(str(label) for label in sorted(known_labels - {0})) or "1, 2, 3"
            problem = f"label {wrong[0]}, which no mask may hold" if wrong else "no label"
            raise InputError(f"{source}: class {name} is made of {problem}; choose from {known}")
    return chosen


def say_classes(
    source: Path, layout: str, listed: CaseList, classes: dict[str, list[int]] | None
) -> None:
    """Print which columns of a table are taken as classes, if their cells decided that.

    Args:
        source: Where the cases are.
        layout: How they are listed.
        listed: The cases.
        classes: Those that were given.
    """
    if layout != "table" or classes or not any(case.tags for case in listed.cases):
        return
    first = json.dumps({name: list(labels) for name, labels in list(listed.classes.items())[:1]})
    names = ", ".join(f"`{name}`" for name in listed.classes)
    print(
        f"{source}: taken as classes, since their cells are tags: {names}; to leave one out, name "
        f"the others, such as --classes '{first}'"
    )


def check_labelled(source: Path, listed: CaseList) -> None:
    """Refuse a case without mask and without tags.

    Args:
        source: Where the cases are, for the message.
        listed: The cases.

    Raises:
        InputError: A case has neither.
    """
    results(
        InputError(
            f"{source}: case {case.id} has neither mask nor tags; add one of them or remove "
            "the case (`wsseg predict` needs neither)"
        )
        for case in listed.cases
        if case.mask is None and case.tags is None
    )


def check_named_once(source: Path, listed: CaseList) -> None:
    """Refuse a file that is listed for two cases: one could train and the other test.

    Links are followed. Copies of images are found when they are read.

    Args:
        source: Where the cases are, for the message.
        listed: The cases.

    Raises:
        InputError: Two cases have an image, a mask or a table of tags in common.
    """
    seen: dict[Path, str] = {}
    for case in listed.cases:
        for path in {path.resolve(): path for path in case.paths}.values():
            other = seen.setdefault(path.resolve(), case.id)
            if other != case.id:
                kind = "mask" if path in case.masks else "images"
                kind = "tags" if path == case.tags else kind
                raise InputError(
                    f"{source}: cases {other} and {case.id} have the same {kind} ({path}); "
                    "correct the path, or remove one of them"
                )


def check_output(out: Path) -> None:
    """Refuse to write where something else is.

    Args:
        out: Folder for the store.

    Raises:
        InputError: It is a file, or a folder that holds anything but a store, or nothing can be
            written beside it, where it is built.
    """
    check_writable(out.parent)
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError(f"{out}: is not empty and holds no slice store; name another folder")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder to write to")


def check_distinct(source: Path, content: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse two cases with the same images: one could train and the other test.

    Args:
        source: Where the cases are, for the message.
        content: For each case what tells its images from others, by modality.

    Raises:
        InputError: The images of two cases are the same.
    """
    seen: dict[frozenset[str], str] = {}
    pairs = [
        (seen.setdefault(frozenset(hashes.values()), case), case)
        for case, hashes in content.items()
    ]
    results(
        InputError(f"{source}: cases {one} and {other} have the same images; remove one of them")
        for one, other in pairs
        if one != other
    )


def warn_of_equal_masks(masks: Mapping[str, str | None]) -> None:
    """Warn of masks that are not empty and yet the same in two cases, as after a wrong copy.

    Args:
        masks: Of each case the hash of its mask, if it has one that is not empty.
    """
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(mask, case), case) for case, mask in masks.items() if mask]
    equal = [f"cases {first} and {case}" for first, case in pairs if first != case]
    if equal:
        warnings.warn(
            f"{first_of(equal)} have the same mask, voxel by voxel; check that none of them was "
            "copied by mistake",
            stacklevel=2,
        )


def warn_of_nesting(
    tags: Iterable[Sequence[Sequence[float | None]]], classes: Mapping[str, Sequence[int]]
) -> None:
    """Warn of classes that lie in others by their tags, but not by their labels.

    Args:
        tags: Of each case a multi-hot row per slice; None where a tag is unknown.
        classes: The labels of each class.
    """
    rows = np.array([row for case in tags for row in case], float) > 0.5
    for inner, outer in permutations(range(len(classes)), 2):
        names = list(classes)
        labels = [set(classes[names[number]]) for number in (inner, outer)]
        with_inner, with_outer = rows[:, inner], rows[:, outer]
        nested = (
            with_inner.any() and with_outer[with_inner].all() and (with_outer > with_inner).any()
        )
        if nested and not labels[0] <= labels[1]:
            warnings.warn(
                f"every slice tagged `{names[inner]}` is tagged `{names[outer]}`; if "
                f"`{names[inner]}` lies inside `{names[outer]}`, give it a subset of the labels: "
                f"{{{names[outer]}: [1, 2], {names[inner]}: [2]}}",
                stacklevel=2,
            )


def warn_of_levels(
    tags: Iterable[Sequence[Sequence[float | None]]], classes: Sequence[str]
) -> None:
    """Warn of levels at which no slice is untagged.

    Args:
        tags: Of each case a multi-hot row per slice; None where a tag is unknown.
        classes: Names of the classes.
    """
    counts = count_tags([np.array(of_case, float) for of_case in tags])
    for doubt in doubts_of_levels(counts, classes):
        warnings.warn(doubt, stacklevel=2)


def warn_of_likely_mistakes(records: Sequence[dict[str, Any]], spec: DataSpec) -> None:
    """Warn of spacing and tags that are probably mistakes.

    Args:
        records: What is known of the slices of each case.
        spec: How volumes became slices.
    """
    pixels = sorted(side for record in records for side in record["geometry"]["pixel"])
    alike = same_pixel_size([record["geometry"]["pixel"] for record in records])
    if spec.spacing is None and spec.plan.longest_side is None and not alike:
        warnings.warn(
            f"pixels of slices are {pixels[0]:.3g} to {pixels[-1]:.3g} mm wide or high, and the "
            f"network treats them all alike; --spacing {pixels[len(pixels) // 2]:.2g} would "
            "resample them to one size",
            stacklevel=2,
        )
    extent = sorted(max(record["anatomy"]) for record in records)[len(records) // 2]
    if extent < SHORTEST_ANATOMY:
        warnings.warn(
            f"anatomy is {extent} pixels long in the median case; the default settings suit "
            f"{SHORTEST_ANATOMY} pixels or more; give a smaller --spacing",
            stacklevel=2,
        )
    doubts = [record["doubt"] for record in records if record.get("doubt")]
    if doubts:
        warnings.warn(f"{first_of(doubts)}; training uses the tags", stacklevel=2)
