"""Files that tell viewers the names and colours of labels: of ITK-SNAP and of 3D Slicer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from wsseg.data.labels import SLICER_FILE
from wsseg.utils.files import write_text
from wsseg.visualisation.colours import class_colour

SNAP_FILE = "labels.txt"

# As ITK-SNAP writes it (`ColorLabelTable::SaveToFile`); it skips lines that begin with `#`.
SNAP_HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    IDX:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def write_label_files(numbers: Mapping[str, int], output: Path) -> None:
    """Write ``labels.txt`` for ITK-SNAP and ``labels.ctbl`` for 3D Slicer.

    Args:
        numbers: The label of each class, in channel order, which the colours depend on.
        output: Folder to write to.
    """
    write_text(output / SNAP_FILE, snap_labels(numbers))
    write_text(output / SLICER_FILE, slicer_colours(numbers))


def snap_labels(numbers: Mapping[str, int]) -> str:
    """Describe labels as ITK-SNAP reads them (Segmentation > Import Label Descriptions).

    Args:
        numbers: The label of each class, in channel order.

    Example:
        >>> print(snap_labels({"tumour": 1}).splitlines()[-1])
            1   255  159   28        1  1  1    "tumour"
    """
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for number, name, (red, green, blue) in _sorted(numbers):
        text = " ".join(name.replace('"', "'").split()) or "_"  # quotation marks end the name
        lines.append(f'{number:5}   {red:3}  {green:3}  {blue:3}        1  1  1    "{text}"')
    return SNAP_HEADER + "\n".join(lines) + "\n"


def slicer_colours(numbers: Mapping[str, int]) -> str:
    """Describe labels as 3D Slicer reads them, as a colour table.

    A line holds the number, the name, and red, green, blue and opacity from 0 to 255, separated by
    spaces; spaces in names become underscores (`vtkMRMLColorTableStorageNode`).

    Args:
        numbers: The label of each class, in channel order.

    Example:
        >>> print(slicer_colours({"tumour core": 1}).splitlines()[-1])
        1 tumour_core 255 159 28 255
    """
    lines = ["# Slicer colour table of the masks that wsseg predicted", "0 background 0 0 0 0"]
    for number, name, colour in _sorted(numbers):
        text = re.sub(r"\s+", "_", name.strip().replace("'", "")) or "_"
        lines.append(f"{number} {text} {' '.join(map(str, colour))} 255")
    return "\n".join(lines) + "\n"


def _sorted(numbers: Mapping[str, int]) -> list[tuple[int, str, tuple[int, int, int]]]:
    named = ((number, name, class_colour(n)) for n, (name, number) in enumerate(numbers.items()))
    return sorted(named)
