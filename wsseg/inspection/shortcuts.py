"""Finds shortcuts: properties that no finding has, and that tell tagged from untagged images.

A network that has learnt a shortcut is right about tags and wrong about where the finding is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Flags = NDArray[np.bool_]

FEWEST = 5  # images, or patients, of each kind that a comparison needs
LARGEST_P = 0.01  # for all comparisons of a data set together (Bonferroni)
LEAST_SHARE = 0.7  # of pairs that a shortcut tells apart
BORDER_LEAST = 0.8  # of pairs that the border must tell apart,
BORDER_LEAD = 0.1  # and so many more than the centre, where findings are
BORDER_SURE = 0.97  # of pairs: hardly any finding reaches the border of nearly all images
BORDER, CENTRE = "border", "centre"


class Shortcut(NamedTuple):
    """A property that tells tagged from untagged images.

    Attributes:
        name: The property.
        share: Of pairs of a tagged and an untagged image, in how many the tagged one has more of
            it (the area under the ROC curve).
        tagged: Its median over tagged images.
        untagged: Its median over untagged images.
        p: Probability that chance does this (Mann and Whitney).
    """

    name: str
    share: float
    tagged: float
    untagged: float
    p: float

    @property
    def strength(self) -> float:
        """Share of pairs that it tells apart."""
        return max(self.share, 1 - self.share)


def find_shortcuts(
    features: Mapping[str, Values], tagged: Flags, patients: Sequence[str], comparisons: int
) -> list[Shortcut]:
    """Return the properties that tell tagged from untagged images, strongest first.

    The border counts only if it says much more than the centre, or leaves next to no doubt: a
    picture that is darker everywhere may show the finding itself.

    Args:
        features: A value of each image by the name of the property; those of ``border`` have a
            counterpart of ``centre``.
        tagged: Whether each image is tagged.
        patients: Whose image each is. Images of one patient are no independent evidence.
        comparisons: How many properties are compared in all classes together.

    Example:
        >>> width = np.array([640.0] * 10 + [480.0] * 10)
        >>> found = find_shortcuts({"width": width}, width > 500, list(map(str, range(20))), 1)
        >>> [(each.name, each.share) for each in found]
        [('width', 1.0)]
    """
    found = []
    for name, values in features.items():
        if name.startswith(CENTRE):
            continue
        one = compare(name, values, tagged, patients)
        least = LEAST_SHARE
        if name.startswith(BORDER):
            other = name.replace(BORDER, CENTRE)
            inner = compare(other, features[other], tagged, patients)
            if one and inner:  # a bright lesion does not excuse a dark border
                alike = inner.share if one.share > 0.5 else 1 - inner.share
                least = min(BORDER_SURE, max(BORDER_LEAST, BORDER_LEAD + alike))
        if one and one.strength >= least and one.p * comparisons <= LARGEST_P:
            found.append(one)
    return sorted(found, key=lambda each: -each.strength)


def compare(name: str, values: Values, tagged: Flags, patients: Sequence[str]) -> Shortcut | None:
    """Compare a property between tagged and untagged images; None if there are too few.

    Args:
        name: Of the property.
        values: Of each image.
        tagged: Whether each is tagged.
        patients: Whose it is; of one patient's images of a kind the mean counts.
    """
    from scipy.stats import mannwhitneyu

    groups = [_means(values[kind], patients, kind) for kind in (tagged, ~tagged)]
    if min(map(len, groups)) < FEWEST:
        return None
    if np.ptp(np.concatenate(groups)) == 0:
        return Shortcut(name, 0.5, groups[0][0], groups[1][0], 1.0)
    test = mannwhitneyu(*groups)
    share = float(test.statistic) / (len(groups[0]) * len(groups[1]))
    with_it, without = (float(np.median(values[kind])) for kind in (tagged, ~tagged))
    return Shortcut(name, share, with_it, without, float(test.pvalue))


def _means(values: Values, patients: Sequence[str], kind: Flags) -> Values:
    names = [patient for patient, chosen in zip(patients, kind, strict=True) if chosen]
    if not names:
        return np.zeros(0)
    _, place = np.unique(names, return_inverse=True)
    means: Values = np.bincount(place, values) / np.bincount(place)
    return means


def indicators(name: str, values: Sequence[str]) -> Iterator[tuple[str, Values]]:
    """Yield a property of 0 and 1 for each value that some of the images have.

    Example:
        >>> [(name, found.tolist()) for name, found in indicators("file", ["png", "jpg", "png"])]
        [('file jpg', [0.0, 1.0, 0.0])]
    """
    kinds = sorted(set(values), key=lambda kind: (-values.count(kind), kind))
    for kind in kinds[1:]:  # the last of two follows from the first
        yield f"{name} {kind}", np.array([float(value == kind) for value in values])
