"""The plan of a data set: what ``wsseg prepare`` decides about it, and prediction obeys.

It is decided from images and tags alone, stored with the slices and in every checkpoint, and each
entry can be given as an option of ``prepare``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wsseg.data.normalisation import Scale
from wsseg.utils.errors import InputError

NORMALISATIONS = ("zscore", "window", "picture")
BODIES = ("nonzero", "threshold", "whole")
UNITS = ("mm", "px")
PERCENTILES = (1.0, 50.0, 99.0)  # of intensities, by which images are recognised as alike


@dataclass(frozen=True)
class Reference:
    """What the images of a data set look like, so that prediction can tell one that does not fit.

    All ranges are the least and the greatest value of a case.

    Attributes:
        intensities: For each modality and each of ``PERCENTILES``, the range of that percentile of
            the raw intensities inside the body.
        filling: Range of the share of the box around the body that the body fills.
        extent: Range of the longer side of that box, in pixels of slices.
        middles: For each modality the range of how far the second of ``PERCENTILES`` lies from the
            first to the last, as a share, which no unit of intensity changes.
    """

    intensities: tuple[tuple[tuple[float, float], ...], ...]
    filling: tuple[float, float]
    extent: tuple[float, float]
    middles: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        ranges = [*(each for modality in self.intensities for each in modality)]
        _check(
            all(len(modality) == len(PERCENTILES) for modality in self.intensities)
            and len(self.middles) == len(self.intensities)
            and all(map(_is_range, [*ranges, self.filling, self.extent, *self.middles])),
            "reference",
            self,
            "needs ranges of finite numbers",
        )

    @classmethod
    def over(cls, cases: Sequence[Reference]) -> Reference:
        """Return the ranges over several cases.

        Args:
            cases: At least one.

        Example:
            >>> one = Reference((((0, 0), (5, 5), (9, 9)),), (0.5, 0.5), (90, 90), ((0.6, 0.6),))
            >>> other = Reference((((1, 1), (4, 4), (9, 9)),), (0.7, 0.7), (80, 80), ((0.4, 0.4),))
            >>> Reference.over([one, other])
            Reference(intensities=(((0, 1), (4, 5), (9, 9)),), filling=(0.5, 0.7),
                      extent=(80, 90), middles=((0.4, 0.6),))
        """
        modalities = zip(*(case.intensities for case in cases), strict=True)
        return cls(
            tuple(tuple(map(_span, zip(*each, strict=True))) for each in modalities),
            _span(case.filling for case in cases),
            _span(case.extent for case in cases),
            tuple(map(_span, zip(*(case.middles for case in cases), strict=True))),
        )

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Reference:
        """Rebuild it from what JSON makes of it."""
        return cls(
            tuple(tuple(map(_range, modality)) for modality in plain["intensities"]),
            _range(plain["filling"]),
            _range(plain["extent"]),
            tuple(map(_range, plain["middles"])),
        )


@dataclass(frozen=True)
class Plan:
    """How the images of a data set are to be taken.

    Example:
        >>> plan = Plan(body="whole", unit="px", symmetric=False, comparable=False)
        >>> Plan.from_dict(plan.to_dict()) == plan
        True
        >>> Plan(body="round")
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: plan: body is 'round'; choose from nonzero, threshold, whole

    Attributes:
        normalisation: How intensities are brought to one scale: "zscore" for each case by the
            values inside its own body; "window" in Hounsfield units and "picture" by ``scales``,
            which are the same for all cases.
        body: What counts as body: "nonzero" is all that differs from the background, "threshold"
            what is denser or brighter than air, "whole" every pixel.
        unit: What sizes are in: "mm", or "px" for pictures without a physical size.
        longest_side: Length in pixels of slices to which the longer side of every image is
            resampled; None where the pixels of all images have one size.
        scales: How the intensities of each modality are scaled; empty for "zscore".
        symmetric: Whether the two sides of the body look alike.
        comparable: Whether the same place of different patients can be compared.
        reference: What the images look like; None if nobody noted it.
    """

    normalisation: str = "zscore"
    body: str = "nonzero"
    unit: str = "mm"
    longest_side: int | None = None
    scales: tuple[Scale, ...] = ()
    symmetric: bool = True
    comparable: bool = True
    reference: Reference | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("normalisation", NORMALISATIONS),
            ("body", BODIES),
            ("unit", UNITS),
        ):
            value = getattr(self, name)
            _check(value in known, name, value, f"choose from {', '.join(known)}")
        for name in ("symmetric", "comparable"):
            value = getattr(self, name)
            _check(type(value) is bool, name, value, "give true or false")
        side = self.longest_side
        good = side is None or (type(side) is int and side > 0)
        _check(good, "longest_side", side, "give a number of pixels, 1 or more")
        good = all(_is_range(scale[:2]) and _is_scale(scale) for scale in self.scales)
        fixed = self.normalisation != "zscore"
        _check(good and bool(self.scales) <= fixed, "scales", self.scales, "give usable ones")

    @property
    def shifts_background(self) -> bool:
        """Whether the background of each volume is shifted to 0, where it has another value."""
        return self.body == "nonzero" and self.normalisation == "zscore"

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers (safe in JSON, YAML and checkpoints)."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from :meth:`to_dict`."""
        reference = plain["reference"]
        return cls(
            **{
                **plain,
                "scales": tuple(Scale(*each) for each in plain["scales"]),
                "reference": None if reference is None else Reference.from_dict(reference),
            }
        )


def _span(ranges: Iterable[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _range(pair: Sequence[float]) -> tuple[float, float]:
    low, high = pair
    return low, high


def _is_range(pair: Sequence[float]) -> bool:
    return all(_is_number(each) for each in pair) and pair[0] <= pair[1]


def _is_scale(scale: Scale) -> bool:
    return all(_is_number(each) for each in scale) and scale.deviation > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check(good: bool, name: str, value: Any, advice: str) -> None:
    if not good:
        raise InputError(f"plan: {name} is {value!r}; {advice}")
