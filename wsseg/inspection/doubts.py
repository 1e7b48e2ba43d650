"""What is to be corrected, or to be looked at, in words; from facts about cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wsseg.data.tag_counts import of_whole_case
from wsseg.inspection.duplicates import nearly_equal
from wsseg.inspection.facts import Facts, equal_modalities
from wsseg.inspection.shortcuts import BORDER, Shortcut, find_shortcuts, indicators
from wsseg.utils.errors import first_of

MOST_NAMES = 6  # cases that a sentence lists
ANY = "any class"
# Tags of pictures go with patients if the most frequent tag of each patient is that of so many of
# their images, and shuffled tags hardly ever fit as well. Not measured.
FEWEST_PATIENTS = 5  # with several images each
LEAST_AGREEMENT = 0.8
SHUFFLES, LARGEST_P = 999, 0.01


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
        f"cases {named}{more} look nearly the same (or mirrored or turned), but belong to "
        "different patients; if they are copies, or of one patient, say so in the column "
        "`patient`, or remove one"
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
    tags = np.array([of_whole_case(one.tags) for one in facts])
    kinds = dict(zip(classes, tags.T, strict=True))
    if len(classes) > 1:  # images without any finding may be of another source
        kinds[ANY] = of_whole_case(tags.T)
    owners = [patients[one.case] for one in facts]
    comparisons = len(features) * len(kinds)
    found = []
    for name, kind in kinds.items():
        known = np.flatnonzero(~np.isnan(kind))
        values = {feature: each[known] for feature, each in features.items()}
        whose = [owners[n] for n in known]
        shortcuts = find_shortcuts(values, kind[known] > 0.5, whose, comparisons)
        found += [_sentence(name, each) for each in shortcuts]
    return found


def doubts_of_confounding(
    facts: Sequence[Facts], classes: Sequence[str], patients: Mapping[str, str]
) -> list[str]:
    """Say which tags of pictures follow from the patient: then they teach what patients look like.

    Args:
        facts: Of all cases.
        classes: Names of the classes.
        patients: Whose each case is.
    """
    owners = [patients[one.case] for one in facts]
    count = Counter(owners)
    several = [n for n, one in enumerate(facts) if count[owners[n]] > 1 and one.shape[0] == 1]
    found = []
    for number, name in enumerate(classes):
        known = [n for n in several if not np.isnan(facts[n].tags[0, number])]
        names, place = np.unique([owners[n] for n in known], return_inverse=True)
        if len(names) < FEWEST_PATIENTS:
            continue
        tags = np.array([facts[n].tags[0, number] > 0.5 for n in known])
        agreement = _agreement(tags, place)
        rng = np.random.default_rng(0)
        better = sum(_agreement(rng.permutation(tags), place) >= agreement for _ in range(SHUFFLES))
        if agreement >= LEAST_AGREEMENT and (better + 1) / (SHUFFLES + 1) <= LARGEST_P:
            found.append(
                f"`{name}`: the patient tells the tag of {agreement:.0%} of the images, so that "
                "what differs between patients, such as stain or scanner, may be taken for it; add "
                "patients with both tagged and untagged images"
            )
    return found


def _agreement(tags: NDArray[np.bool_], place: NDArray[np.intp]) -> float:
    """Return the share of images that have the most frequent tag of their patient."""
    total = np.bincount(place)
    tagged = np.bincount(place, tags)
    return float(np.maximum(tagged, total - tagged).sum() / len(tags))


def _sentence(name: str, shortcut: Shortcut) -> str:
    kind = shortcut.name
    if kind.startswith(BORDER):
        kind = f"{'brightness' if 'mean' in kind else 'contrast'} of the border"
        advice = (
            "crop away what frames the images, and check that both kinds were taken and saved in "
            "the same way"
        )
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
