"""Label files as the viewers read them: these parsers do what the viewers' own do."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.prediction.label_files import slicer_colours, snap_labels, write_label_files
from wsseg.visualisation.colours import class_colour

NUMBERS = {"whole tumour": 2, "core": 1, "enhancing": 4}

Labels = dict[int, tuple[str, tuple[int, int, int]]]


def read_snap(text: str) -> Labels:
    """Read as `ColorLabelTable::LoadFromFile` of ITK-SNAP."""
    found: Labels = {}
    for line in text.split("\n"):
        if not line or line[0] == "#":
            continue
        index, red, green, blue, alpha, visible, mesh = line.split()[:7]
        assert 0.0 <= float(alpha) <= 1.0
        assert {visible, mesh} <= {"0", "1"}
        name = line.split('"')[1]
        assert name, "an empty name is a syntax error"
        assert len(name) + 2 <= len(line)
        found[int(index)] = (name, (int(red), int(green), int(blue)))
    return found


def read_slicer(text: str) -> Labels:
    """Read as `vtkMRMLColorTableStorageNode::ReadDataInternal` of 3D Slicer."""
    found: Labels = {}
    for line in text.split("\n"):
        if not line or line[0] == "#":
            continue
        assert len(line) < 1024
        index, name, red, green, blue, alpha = line.split()
        assert int(alpha) in (0, 255)
        assert int(index) <= 32_768
        found[int(index)] = (name.strip("'"), (int(red), int(green), int(blue)))
    return found


def test_both_viewers_show_the_names_and_colours_of_the_pictures(tmp_path: Path) -> None:
    write_label_files(NUMBERS, tmp_path / "out")
    snap = read_snap((tmp_path / "out" / "labels.txt").read_text())
    slicer = read_slicer((tmp_path / "out" / "labels.ctbl").read_text())
    assert snap.pop(0) == ("Clear Label", (0, 0, 0))
    assert slicer.pop(0) == ("background", (0, 0, 0))
    expected = {number: (name, class_colour(n)) for n, (name, number) in enumerate(NUMBERS.items())}
    assert snap == expected
    assert slicer == {n: (name.replace(" ", "_"), c) for n, (name, c) in expected.items()}
    assert list(snap) == sorted(snap)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.integers(1, 32_767), min_size=1, max_size=5))
def test_any_name_keeps_both_files_readable(named: dict[str, int]) -> None:
    assert set(read_snap(snap_labels(named))) == {0, *named.values()}
    assert set(read_slicer(slicer_colours(named))) == {0, *named.values()}
