"""Checks of what the files of a slice store say, before anything is made of it.

A store that somebody edited or copied in part would otherwise train on wrong tags, or fail hours
later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from wsseg.data.case_ids import check_id
from wsseg.data.spec import AXES, FORMAT, DataSpec
from wsseg.data.splits import SPLITS
from wsseg.utils.errors import InputError

Entry = dict[str, Any]
LARGEST_SIDE = 2**16  # of a side of slices; no image is larger


def check_manifest(path: Path, manifest: Any) -> None:
    """Refuse a manifest that is not as ``wsseg prepare`` writes it.

    Args:
        path: The file, for messages.
        manifest: What it holds.

    Raises:
        InputError: It is of another version, or an entry is missing or has a value that it cannot
            have.

    Example:
        >>> check_manifest(Path("manifest.json"), {"format": 3, "spec": {}})
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: manifest.json: is damaged (`spec` is not usable); ...
    """
    _require(isinstance(manifest, dict), path, "it is no mapping")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path.parent}: has store format {manifest.get('format')}, but this version of wsseg "
            f"reads {FORMAT}; prepare it again"
        )
    _require(is_spec(manifest.get("spec")), path, "`spec` is not usable")
    options, cases = manifest.get("options", {}), manifest.get("cases")
    _require(isinstance(options, dict), path, "`options` is no mapping")
    reasons = manifest.get("reasons", {})
    good = isinstance(reasons, dict) and _list_of(str, [*reasons, *reasons.values()])
    _require(good, path, "`reasons` are no texts")
    step = options.get("slice_step", 1)
    _require(_whole([step]) and step >= 1, path, "`slice_step` is no number above 0")
    _require(isinstance(cases, list) and len(cases) > 0, path, "`cases` is no list of cases")
    seen: set[str] = set()
    for entry in cases:
        named = isinstance(entry, dict) and isinstance(entry.get("id"), str)
        _require(named, path, "a case has no `id`")
        check_id(path, entry["id"])
        _require(entry["id"] not in seen, path, f"case {entry['id']} is there twice")
        seen.add(entry["id"])
        if problem := _problem_of_case(entry, len(manifest["spec"]["classes"]), step):
            _require(False, path, f"case {entry['id']} has {problem}")


def check_fold(path: Path, splits: Any, fold: int) -> None:
    """Refuse splits that lack a fold, or in which it is no list of cases for each split.

    Args:
        path: The file, for messages.
        splits: What it holds.
        fold: Number of the fold.

    Raises:
        InputError: The fold cannot be used.
    """
    folds: Any = splits.get("folds") if isinstance(splits, dict) else None
    _require(isinstance(folds, list) and len(folds) > 0, path, "`folds` is no list of folds")
    if not 0 <= fold < len(folds):
        raise InputError(
            f"{path.parent}: has no fold {fold}; give --data.fold 0 to {len(folds) - 1}"
        )
    _require(isinstance(folds[fold], dict), path, f"fold {fold} is no mapping")
    if lacking := [name for name in SPLITS if name not in folds[fold]]:
        raise InputError(f"{path}: fold {fold} has no `{lacking[0]}`; add it, a list of cases")
    for name in SPLITS:
        good = _list_of(str, folds[fold][name])
        _require(good, path, f"`{name}` of fold {fold} is no list of cases")


def _require(good: bool, path: Path, problem: str) -> None:
    if not good:
        raise InputError(f"{path}: is damaged ({problem}); prepare the store again")


def is_spec(plain: Any) -> bool:
    """Tell whether a data specification of a store or of a checkpoint can be used.

    Args:
        plain: What :meth:`DataSpec.to_dict` returned.

    Example:
        >>> is_spec({"modalities": ["T1"], "classes": {"tumour": ["one"]}})
        False
    """
    try:
        spec = DataSpec.from_dict(plain)
        classes = plain["classes"].values()
        return (
            _list_of(str, plain["modalities"])
            and 0 < len(spec.modalities) == len(set(spec.modalities))
            and len(classes) > 0
            and all(_whole(labels) and len(labels) > 0 for labels in classes)
            and spec.axis in AXES
            and (spec.spacing is None or _sizes([spec.spacing]))
            and _whole(plain["size"])
            and len(plain["size"]) == 2
            and 0 < min(spec.size) <= max(spec.size) <= LARGEST_SIDE
            and isinstance(plain["plan"], dict)
            and len(spec.plan.scales) in (0, len(spec.modalities))
            and (spec.pixel is None or (len(spec.pixel) == 2 and _sizes(spec.pixel)))
        )
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return False


def _problem_of_case(entry: Entry, classes: int, step: int) -> str:
    """Say what is wrong with the entry of a case."""
    tags: Any = entry.get("tags")
    positions: Any = entry.get("positions")
    spacing: Any = entry.get("spacing")
    content: Any = entry.get("content")
    if not _list_of(list, tags) or not tags:
        return "no list of `tags`"
    if any(len(row) != classes for row in tags):
        return f"`tags` that are not {classes} in each slice"
    if not all(tag is None or (type(tag) is int and tag in (0, 1)) for row in tags for tag in row):
        return "`tags` other than 0, 1 and null"
    if not _whole(positions) or len(positions) != len(tags):
        return f"`positions` that are not a number for each of its {len(tags)} slices"
    places = [(number - positions[0]) // step for number in positions]
    if positions[0] < 0 or any(after <= before for before, after in pairwise(places)):
        return f"`positions` that do not ascend in steps of {step}"
    if entry.get("slices", len(tags)) != len(tags):
        return f"{entry['slices']} `slices`, but tags of {len(tags)}"
    if not isinstance(spacing, list) or len(spacing) != 3 or not _sizes(spacing):
        return "no `spacing` of three sizes in mm"
    if not isinstance(content, dict) or not content or not _list_of(str, [*content.values()]):
        return "no hash of its images in `content`"
    if not isinstance(entry.get("patient", ""), str):
        return "a `patient` that is no name"
    return ""


def _list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _whole(values: Any) -> bool:
    return _list_of(int, values)


def _sizes(values: Sequence[Any]) -> bool:
    good = all(type(value) in (int, float) for value in values)
    return good and all(value > 0 and math.isfinite(value) for value in values)
