"""Contact sheets of a data set: for each class some tagged and some untagged images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wsseg.inspection.drawing import PICTURE_SIDE, Drawn
from wsseg.inspection.facts import Facts
from wsseg.visualisation.colours import class_colour
from wsseg.visualisation.panels import Picture
from wsseg.visualisation.sheet import Legend, captioned, contact_sheet

COLUMNS, ROWS = 8, 5  # of pictures on a sheet


class Sheet(NamedTuple):
    """A contact sheet, and the name of the file that it belongs in."""

    name: str
    picture: Picture


def sheets(facts: Sequence[Facts], classes: Sequence[str]) -> Iterator[Sheet]:
    """Draw a sheet of tagged and one of untagged images for each class, as far as there are any.

    Args:
        facts: Of all cases, with pictures of some.
        classes: Names of the classes.
    """
    masked = any(one.mask for one in facts)
    for number, name in enumerate(classes):
        for tagged in (True, False):
            shown = [
                (one, drawn) for one in facts for drawn in one.drawn if drawn.tags[number] == tagged
            ]
            if not shown:
                continue
            word = "tagged" if tagged else "untagged"
            chosen = _spread(shown, COLUMNS * ROWS)
            size = max(len(drawn.picture) for _, drawn in chosen), PICTURE_SIDE
            cells = [_cell(one, drawn, classes, size) for one, drawn in chosen]
            rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
            colours = [(f"mask of {each}", class_colour(n)) for n, each in enumerate(classes)]
            title = f"{name}: {word}"
            outlined = masked and (tagged or len(classes) > 1)
            sheet = contact_sheet(rows, title=title, legend=Legend(colours) if outlined else None)
            yield Sheet(f"{_file_name(name)}_{word}.png", sheet)


def _cell(one: Facts, drawn: Drawn, classes: Sequence[str], size: tuple[int, int]) -> Picture:
    pairs = list(zip(classes, drawn.tags, strict=True))
    tags = [name for name, tag in pairs if tag == 1] + [f"{n}?" for n, tag in pairs if tag != tag]
    note = ", ".join(tags) or "no tag"
    note = f"slice {drawn.number}: {note}" if one.shape[0] > 1 else note
    return captioned(drawn.picture, one.case, note, size=size)


def _spread(shown: list[tuple[Facts, Drawn]], most: int) -> list[tuple[Facts, Drawn]]:
    """Choose evenly among all."""
    count = min(most, len(shown))
    return [shown[number * len(shown) // count] for number in range(count)]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "class"
