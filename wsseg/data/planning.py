"""Decides the plan of a data set from what its images are like.

Every rule is a function of fingerprints, and returns what it decides with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wsseg.data.fingerprint import Fingerprint
from wsseg.data.geometry import Geometry
from wsseg.data.normalisation import Scale, find_scale
from wsseg.data.plan import Plan

# Hounsfield units. The first is what is usual for abdominal organs, the second for lungs.
SOFT_TISSUE_WINDOW = (-175.0, 250.0)
LUNG_WINDOW = (-1000.0, 400.0)
LUNG_SHARE = 0.15  # of the body, from which on a CT is one of the chest. Not measured.
# Share of the air that has one value, from which on the air was masked out: at least 0.99 in
# volumes that are skull-stripped, at most 0.65 in others (four volumes of each real data set).
MASKED_AIR = 0.9
MOST_BODY = 0.95  # of all pixels: with more body there is no air to leave out. Not measured.
# Pixels. Pictures that are longer, or differ in length by more than the factor, are resampled to
# one length, at most the last of these: a network on a CPU then trains in minutes. Not measured.
LONGEST_PICTURE = 512
LENGTHS_ALIKE = 1.5
COMMON_LENGTH = 256


class Decision(NamedTuple):
    """What was decided, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Planned:
    """A plan, the pixel size of slices that goes with it, and the reason of each entry."""

    plan: Plan
    spacing: float | None
    reasons: dict[str, str]


def make_plan(
    fingerprints: Sequence[Fingerprint],
    planes: Sequence[Geometry],
    unit: str,
    options: Mapping[str, Any],
) -> Planned:
    """Decide how the images of a data set are to be taken.

    Args:
        fingerprints: Of some cases.
        planes: Of every case, whole planes in pixels of the source.
        unit: Of lengths.
        options: Of ``prepare`` by name; what is not None there is not decided here.
    """
    if not fingerprints:  # no image could be read, as the preparation will say
        return Planned(Plan(unit=unit), options["spacing"], {})
    window = options["window"]
    chosen = options["normalisation"] or ("window" if window else None)
    normalisation = given(chosen) or decide_normalisation(fingerprints)
    body = given(options["body"]) or decide_body(fingerprints)
    side = given(options["longest_side"]) or decide_longest_side(fingerprints, planes, options)
    spacing = given(options["spacing"]) or decide_spacing(normalisation.value, planes, side.value)
    scales: tuple[Scale, ...] = ()
    if normalisation.value == "window":
        limits = given(window) or decide_window(fingerprints)
        scales = window_scales(fingerprints, limits.value)
        shown = f"{limits.value[0]:g} to {limits.value[1]:g} HU ({limits.reason})"
        normalisation = normalisation._replace(reason=f"{normalisation.reason}; {shown}")
    elif normalisation.value == "picture":
        scales = tuple(find_scale(np.concatenate(each)) for each in _pooled(fingerprints))
    plan = Plan(normalisation.value, body.value, unit, side.value, scales)
    reasons = {
        "normalisation": normalisation.reason,
        "body": body.reason,
        "longest_side": side.reason,
        "spacing": spacing.reason,
    }
    return Planned(plan, spacing.value, reasons)


def decide_normalisation(fingerprints: Sequence[Fingerprint]) -> Decision:
    """Choose how intensities are brought to one scale.

    Pictures keep how bright they are in comparison with others: of pixels of `busi` and of
    `kvasir-seg-tiles`, lesions were told by colour with an area under the curve of 0.71 and 0.74,
    and with z-scores of each picture of 0.68 and 0.72.
    """
    if all(each.picture for each in fingerprints):
        return Decision("picture", "pictures; brightness is compared between them")
    if _most(each.hounsfield for each in fingerprints):
        return Decision("window", "CT: air and soft tissue have their Hounsfield units")
    return Decision("zscore", "units differ between scans, as of MRI")


def decide_body(fingerprints: Sequence[Fingerprint]) -> Decision:
    """Choose what counts as body."""
    if all(each.picture for each in fingerprints):
        return Decision("whole", "pictures")
    if _most(each.hounsfield for each in fingerprints):
        return Decision("threshold", "CT: air has its Hounsfield units")
    empty = float(np.median([each.empty for each in fingerprints]))
    if float(np.median([each.covered for each in fingerprints])) >= MOST_BODY:
        return Decision("whole", "there is hardly any air")
    if empty >= MASKED_AIR:
        return Decision("nonzero", f"{empty:.0%} of the air has one value")
    return Decision("threshold", f"only {empty:.0%} of the air has one value")


def decide_longest_side(
    fingerprints: Sequence[Fingerprint], planes: Sequence[Geometry], options: Mapping[str, Any]
) -> Decision:
    """Choose to which length pictures are resampled, if they are."""
    if options["spacing"] is not None or not all(each.picture for each in fingerprints):
        return Decision(None, "for pictures only")
    if any(each.grid for each in fingerprints):
        return Decision(None, "cells of compressed pictures are kept")
    lengths = sorted(max(each.plane) for each in planes)
    shortest, longest = lengths[0], lengths[-1]
    if longest <= min(LONGEST_PICTURE, LENGTHS_ALIKE * shortest):
        return Decision(None, f"longer sides of {shortest} to {longest} pixels are kept")
    most = max(options["size"] or [COMMON_LENGTH])
    side = min(most, lengths[len(lengths) // 2])
    return Decision(side, f"longer sides are of {shortest} to {longest} pixels")


def decide_spacing(
    normalisation: str, planes: Sequence[Geometry], longest_side: int | None
) -> Decision:
    """Choose the pixel size of slices: that of the source, but a common one for CT."""
    if longest_side is not None:
        return Decision(None, "follows from the longest side")
    if normalisation != "window" or not planes:
        return Decision(None, "that of the source")
    pixel = float(np.median([max(each.pixel) for each in planes]))
    extent = float(np.median([_extent(each) for each in planes]))
    return Decision(
        round(max(pixel, extent / COMMON_LENGTH), 2),
        f"CT: planes of {extent:.0f} mm have at most {COMMON_LENGTH} pixels",
    )


def decide_window(fingerprints: Sequence[Fingerprint]) -> Decision:
    """Choose the window of a CT."""
    lung = float(np.median([each.lung for each in fingerprints]))
    if lung >= LUNG_SHARE:
        return Decision(LUNG_WINDOW, f"{lung:.0%} of the body has the density of lungs")
    return Decision(SOFT_TISSUE_WINDOW, "of soft tissue")


def window_scales(
    fingerprints: Sequence[Fingerprint], window: Sequence[float]
) -> tuple[Scale, ...]:
    """Return z-scores of the data set within a window, for each modality."""
    low, high = map(float, window)
    scales = []
    for values in _pooled(fingerprints):
        inside = find_scale(np.clip(np.concatenate(values), low, high))
        scales.append(Scale(low, high, inside.mean, inside.deviation))
    return tuple(scales)


def _pooled(fingerprints: Sequence[Fingerprint]) -> zip[tuple[Any, ...]]:
    """Return for each modality the intensities of all cases."""
    return zip(*(each.values for each in fingerprints), strict=True)


def given(value: Any) -> Decision | None:
    """Return what the user decided; None if that is nothing."""
    return None if value is None else Decision(value, "given")


def _most(votes: Iterable[bool]) -> bool:
    found = list(votes)
    return 2 * sum(found) > len(found)


def _extent(plane: Geometry) -> float:
    return max(n * size for n, size in zip(plane.plane, plane.pixel, strict=True))
