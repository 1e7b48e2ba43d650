"""Tells whether a case looks like those of training, so that no mask is wrong in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wsseg.data.plan import Plan, Reference
from wsseg.data.readers.header import COLOURS, FEATURE

Range = tuple[float, float]

# How far a case may lie outside of what training has seen. With these, 2 of 477 cases of seven data
# sets were thought not to fit the cases of the other four fifths of their set; and of the same 477
# with black and white exchanged, 376 were recognised.
MIDDLE_MARGIN = 0.1  # of the place of the median between darkest and brightest
SCALE_MARGIN = 0.05  # of the range from darkest to brightest, where all images have one scale
EXTENT_RATIO = 1.6  # of the longer side of the body
LEAST_GAIN = 0.04  # of the share of the box around the body that it fills, if it is larger
FILLING_RATIO = 1.6  # of the share of the box around the body that it fills, if it is less
INTENSITY_MARGIN = 0.5  # of the range from darkest to brightest

INVERTED = "looks as if black and white were exchanged: invert it"


def misfit(seen: Reference, plan: Plan, modalities: Sequence[str]) -> str:
    """Say what is most likely wrong with a case that does not look like those of training.

    Args:
        seen: What the case looks like, from :func:`~wsseg.data.anatomy.reference_of`.
        plan: The plan of the data set that the checkpoint was trained on.
        modalities: Names of the modalities.

    Returns:
        At most one sentence; nothing if the case fits, or nobody noted what training looked like.

    Example:
        >>> from dataclasses import replace
        >>> brain = Reference((((9, 9), (40, 40), (99, 99)),), (0.6, 0.6), (90, 90), ((0.3, 0.3),))
        >>> plan = Plan(reference=brain)
        >>> misfit(brain, plan, ["T1"])
        ''
        >>> misfit(replace(brain, filling=(1.0, 1.0)), plan, ["T1"])
        'what counts as body fills 100 % of its box, in training 60 %: mask the air, as there'
        >>> misfit(replace(brain, middles=((0.7, 0.7),)), plan, ["T1"])
        'T1 looks as if black and white were exchanged: invert it'
    """
    reference = plan.reference
    if reference is None:
        return ""
    if any(map(FEATURE.fullmatch, modalities)):  # grids of any size, judged by their colours
        seen, reference = (
            replace(each, intensities=each.intensities[:3], middles=each.middles[:3])
            for each in (replace(seen, extent=reference.extent), reference)
        )
        modalities = COLOURS
    fixed = plan.normalisation != "zscore"  # otherwise intensities may have any unit
    problems = [
        _of_filling(seen.filling[0], reference.filling),
        _of_channels(seen, reference, modalities),
        *map(_of_middle, _values(seen.middles), reference.middles, modalities),
        *([_of_mirrored_scale(seen, reference)] if fixed else []),
        _of_extent(seen.extent[0], reference.extent),
        *(_of_intensities(seen, reference, modalities) if fixed else []),
    ]
    return next(filter(None, problems), "")


def _of_filling(share: float, known: Range) -> str:
    low, high = known
    text = f"what counts as body fills {share:.0%} of its box, in training {_span(known, '.0%')}"
    text = text.replace("%", " %")
    if share > max((1 + high) / 2, high + LEAST_GAIN):
        return f"{text}: mask the air, as there"
    if share < low / FILLING_RATIO:
        return f"{text}: more is masked than there"
    return ""


def _of_channels(seen: Reference, reference: Reference, modalities: Sequence[str]) -> str:
    """Tell a grey picture in the place of a colour one, or one image in the place of several."""
    first, *others = seen.intensities
    known, *rest = reference.intensities
    if others and all(each == first for each in others) and any(each != known for each in rest):
        return f"{', '.join(modalities)} are the same image, unlike in training"
    return ""


def _of_middle(middle: float, known: Range, name: str) -> str:
    away, mirrored = _distance(middle, known), _distance(1 - middle, known)
    return f"{name} {INVERTED}" if away > MIDDLE_MARGIN and mirrored < away / 2 else ""


def _of_mirrored_scale(seen: Reference, reference: Reference) -> str:
    """Tell whether images of one scale fit better once black and white are exchanged."""
    away: list[float] = []
    mirrored: list[float] = []
    for case, known in zip(seen.intensities, reference.intensities, strict=True):
        found = _values(case)
        dark, bright = known[0][0], known[-1][1]
        exchanged = [dark + bright - each for each in reversed(found)]
        away += [each / (bright - dark) for each in map(_distance, found, known)]
        mirrored += [each / (bright - dark) for each in map(_distance, exchanged, known)]
    inverted = max(away) > SCALE_MARGIN and max(mirrored) < max(away) / 2
    return f"the image {INVERTED}" if inverted else ""


def _of_extent(length: float, known: Range) -> str:
    low, high = known
    if low / EXTENT_RATIO <= length <= high * EXTENT_RATIO:
        return ""
    return (
        f"the body is {length:.0f} pixels long, in training {_span(known, '.0f')}: resample or cut "
        "the image to their size"
    )


def _of_intensities(seen: Reference, reference: Reference, modalities: Sequence[str]) -> list[str]:
    problems = []
    for case, known, name in zip(seen.intensities, reference.intensities, modalities, strict=True):
        (_, median, _), (dark, _, bright) = _values(case), known
        if _distance(median, known[1]) > INTENSITY_MARGIN * (bright[1] - dark[0]):
            problems.append(
                f"{name} has a median of {median:.4g}, in training {_span(known[1], '.4g')}: "
                "give images on the scale of those"
            )
    return problems


def _values(ranges: Sequence[Range]) -> list[float]:
    """Return the values that the ranges of a single case are."""
    return [low for low, _ in ranges]


def _distance(value: float, known: Range) -> float:
    return max(known[0] - value, value - known[1], 0.0)


def _span(known: Range, style: str) -> str:
    low, high = (format(each, style) for each in known)
    return low if low == high else f"{low} to {high}"
