"""What is to be corrected, or to be looked at, in words; from facts about cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.levels import LEVELS_PER_CASE, levels
from wsseg.inspection.duplicates import nearly_equal
from wsseg.inspection.facts import Facts, equal_modalities
from wsseg.inspection.shortcuts import COMPARED, Shortcut, find_shortcuts, indicators
from wsseg.utils.errors import first_of

MOST_NAMES = 6  # cases that a sentence lists


class Counts(NamedTuple):
    """How often classes are tagged.

    Attributes:
        slices: [C, 2], untagged and tagged slices.
        cases: [C, 2], cases without a tagged slice and others.
        levels: [C, L, 2], untagged and tagged slices at each level.
    """

    slices: NDArray[np.int64]
    cases: NDArray[np.int64]
    levels: NDArray[np.int64]


def count_tags(tags: Sequence[NDArray[np.bool_]]) -> Counts:
    """Count tags.

    Args:
        tags: Of each case [S, C].

    Example:
        >>> counts = count_tags([np.array([[0], [1]], bool), np.array([[0]], bool)])
        >>> counts.slices.tolist(), counts.cases.tolist()
        ([[2, 1]], [[1, 1]])
    """
    rows = np.concatenate(tags)
    place = np.concatenate([levels(len(each)) for each in tags])
    by_level = np.stack([_both(rows[place == level]) for level in range(LEVELS_PER_CASE)], axis=1)
    return Counts(_both(rows), _both(np.array([each.any(axis=0) for each in tags])), by_level)


def _both(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.stack([(~rows).sum(axis=0), rows.sum(axis=0)], axis=-1)


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


def doubts_of_copies(facts: Sequence[Facts], patients: Mapping[str, str]) -> list[str]:
    """Say which images of different patients are nearly equal, though not the same to the bit.

    Args:
        facts: Of all cases.
        patients: Whose each case is.
    """
    pairs = []
    for first, second in nearly_equal([one.look for one in facts]):
        a, b = facts[first], facts[second]
        if patients[a.case] != patients[b.case] and dict(a.content) != dict(b.content):
            pairs.append((a, b))
    if not pairs:
        return []
    named = ", ".join(f"{a.case} and {b.case}" for a, b in pairs[:MOST_NAMES])
    more = f" (and {len(pairs) - MOST_NAMES} more pairs)" if len(pairs) > MOST_NAMES else ""
    return [
        f"cases {named}{more} look nearly the same, but belong to different patients; if they are "
        "copies, or of one patient, say so in the column `patient`, or remove one"
    ]


def doubts_of_patients(patients: Mapping[str, str]) -> list[str]:
    """Say which names of patients differ in nothing but case, blanks and signs."""
    spelt = defaultdict(set)
    for patient in patients.values():
        spelt["".join(sign for sign in patient.casefold() if sign.isalnum())].add(patient)
    alike = [" and ".join(sorted(names)) for names in spelt.values() if len(names) > 1]
    if not alike:
        return []
    return [f"patients {first_of(alike)} may be the same; write each name in one way"]


def doubts_of_modalities(facts: Sequence[Facts]) -> list[str]:
    """Say which modalities of a case are the same, voxel by voxel."""
    found = []
    for (one, other), cases in equal_modalities(facts).items():
        if len(cases) < len(facts) or not {one, other} <= {"red", "green", "blue"}:
            found.append(
                f"`{one}` and `{other}` are the same in {len(cases)} of {len(facts)} cases "
                f"({_names(cases)}); check that none was copied for want of the other"
            )
    if len(found) > 1 and all("`red`" in each or "`blue`" in each for each in found):
        grey = set.intersection(*(set(c) for c in equal_modalities(facts).values()))
        return [f"{len(grey)} of {len(facts)} colour pictures are grey ({_names(sorted(grey))})"]
    return found


def doubts_of_shortcuts(
    facts: Sequence[Facts], classes: Sequence[str], patients: Mapping[str, str]
) -> list[str]:
    """Say what tells tagged images from untagged ones without showing the finding."""
    names = set.intersection(*(set(one.features) for one in facts))
    features = {
        name: np.array([one.features[name] for one in facts])
        for name in facts[0].features
        if name in names
    }
    features |= dict(indicators("file type", [one.kind for one in facts]))
    tags = np.array([one.tags.any(axis=0) for one in facts])
    owners = [patients[one.case] for one in facts]
    comparisons = len(features) * len(classes)
    found = []
    for name, tagged in zip(classes, tags.T, strict=True):
        found += [
            _sentence(name, each) for each in find_shortcuts(features, tagged, owners, comparisons)
        ]
    return found


def _sentence(name: str, shortcut: Shortcut) -> str:
    kind = shortcut.name
    if kind in COMPARED:
        advice = "crop away what frames the images, or check that findings reach their border"
        kind = f"{kind.replace('mean', 'brightness')} (less so the centre)"
    elif "marks" in kind:
        advice = "if they are text or calipers, paint them over or crop them away in all images"
    elif "frame" in kind:
        advice = "crop the frame away in all images"
    else:
        advice = "a network could read the tag from it; take images of one kind, if you can"
    return (
        f"`{name}`: the {kind} tells tagged images from untagged ones in "
        f"{shortcut.strength:.0%} of pairs (medians {shortcut.tagged:.4g} and "
        f"{shortcut.untagged:.4g}), which may be a shortcut; {advice}"
    )


def _names(cases: Sequence[str]) -> str:
    more = len(cases) - MOST_NAMES
    return ", ".join(cases[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _joined(numbers: Sequence[int]) -> str:
    """Write numbers as ranges, such as 2-5, 8."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
