"""The part of the section on data that shows tags which look wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wsseg.evaluation.suspicious_tags import SuspiciousTag, read_suspicious
from wsseg.report.pictures import Figure, Ground, figure
from wsseg.report.run_folder import RunFolder

MOST_SUSPICIOUS = 12  # of the list that are shown
SUSPICIOUS_PIXELS = 180  # height of a picture


@dataclass(frozen=True)
class Suspicious:
    """The most doubtful tags of training.

    Attributes:
        total: How many tags look wrong.
        figures: The most doubtful, each with its slice.
        lines: What is said of those whose slice is not in the store.
    """

    total: int
    figures: list[Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def suspicious_tags(run: RunFolder) -> Suspicious | None:
    """Draw the slices of the most doubtful tags.

    Args:
        run: The run.

    Returns:
        None if training has left no list.
    """
    found = read_suspicious(run.path)
    if found is None:
        return None
    shown = Suspicious(len(found))
    for tag in found[:MOST_SUSPICIOUS]:
        drawn = draw_slice(run, tag)
        if drawn is None:
            shown.lines.append(describe_tag(tag))
        else:
            shown.figures.append(drawn)
    return shown


def describe_tag(tag: SuspiciousTag, *, lone: bool = False) -> str:
    """Return what is said of a tag.

    Args:
        tag: The tag.
        lone: Whether its slice is the only one of the case.

    Example:
        >>> describe_tag(SuspiciousTag("ann", 7, "cyst", 1, 0.1, 1.25))
        'ann, slice 7: tagged cyst, but probability 0.10 (doubt 1.25)'
    """
    said = "tagged" if tag.tag else "not tagged"
    numbers = f"probability {tag.probability:.2f} (doubt {tag.doubt:.2f})"
    where = tag.case if lone else f"{tag.case}, slice {tag.slice}"
    return f"{where}: {said} {tag.class_name}, but {numbers}"


def draw_slice(run: RunFolder, tag: SuspiciousTag) -> Figure | None:
    """Draw the slice of a tag; None if the store does not hold it."""
    case = None if run.store is None else run.store.cases.get(tag.case)
    if run.store is None or case is None or tag.slice not in case.numbers:
        return None
    row = case.numbers.index(tag.slice)
    valid = np.array(run.store.valid[case.id][row])
    image = run.store.images[case.id][row].astype(np.float32)
    ground = Ground(run.spec, SUSPICIOUS_PIXELS)
    return figure(
        ground.draw(image, valid, ground.box(valid)), describe_tag(tag, lone=len(case.numbers) == 1)
    )
