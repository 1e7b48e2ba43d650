"""How often classes are tagged, and where that keeps clusters from learning them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.levels import LEVELS_PER_CASE, levels


class Counts(NamedTuple):
    """How often classes are tagged.

    Attributes:
        slices: [C, 2], untagged and tagged slices.
        cases: [C, 2], cases without a tagged slice and others.
        levels: [C, L, 2], untagged and tagged slices at each level.
        unknown: [C], slices of which nobody knows whether they are tagged.
    """

    slices: NDArray[np.int64]
    cases: NDArray[np.int64]
    levels: NDArray[np.int64]
    unknown: NDArray[np.int64]


def count_tags(tags: Sequence[NDArray[np.floating]]) -> Counts:
    """Count tags.

    Args:
        tags: Of each case [S, C], 0, 1, or NaN where unknown.

    Example:
        >>> counts = count_tags([np.array([[0.0], [1.0]]), np.array([[0.0], [np.nan]])])
        >>> counts.slices.tolist(), counts.cases.tolist(), counts.unknown.tolist()
        ([[2, 1]], [[0, 1]], [1])
    """
    rows = np.concatenate(tags)
    place = np.concatenate([levels(len(each)) for each in tags])
    by_level = np.stack([_both(rows[place == level]) for level in range(LEVELS_PER_CASE)], axis=1)
    cases = np.array([of_whole_case(each) for each in tags])
    return Counts(_both(rows), _both(cases), by_level, np.isnan(rows).sum(axis=0))


def of_whole_case(tags: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the tags of a case [C] from those of its slices [S, C]; NaN where unknown."""
    without = np.where((tags <= 0.5).all(axis=0), 0.0, np.nan)
    return np.where((tags > 0.5).any(axis=0), 1.0, without)


def _both(rows: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.stack([(rows <= 0.5).sum(axis=0), (rows > 0.5).sum(axis=0)], axis=-1)


def problems_of_tags(counts: Counts, classes: Sequence[str]) -> list[str]:
    """Say which classes are never or always tagged: from these nothing can be learnt."""
    found = []
    for name, (without, tagged) in zip(classes, counts.slices.tolist(), strict=True):
        if not tagged:
            found.append(f"`{name}` is never tagged; add images that show it, or drop the class")
        elif not without:
            found.append(
                f"`{name}` is tagged in all of {tagged} slices; add images or slices without it: "
                "tags teach by the difference"
            )
    return found


def doubts_of_levels(counts: Counts, classes: Sequence[str]) -> list[str]:
    """Say at which levels of volumes no slice is untagged: there, nothing shows what is normal."""
    found = []
    for name, rows in zip(classes, counts.levels, strict=True):
        shown = [n for n, (without, tagged) in enumerate(rows.tolist(), 1) if without + tagged]
        always = [n for n in shown if not rows[n - 1, 0]]
        if 0 < len(always) < len(shown):
            found.append(
                f"`{name}`: no slice is untagged at level {_joined(always)} of {LEVELS_PER_CASE}; "
                "what always lies there may be taken for it; add patients without it, if you can"
            )
    return found


def _joined(numbers: Sequence[int]) -> str:
    """Write numbers as ranges, such as 2-5, 8."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
