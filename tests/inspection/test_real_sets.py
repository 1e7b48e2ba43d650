"""Guesses and warnings on real images, which nobody named for wsseg; skipped where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsseg.inspection.check import check
from wsseg.inspection.look import look

# Of each set the columns, and how many patients there are if names tell them.
SETS = {
    "acdc": (["image:cine", "patient", "mask"], 13),
    "brats2015-demo": (["image:FLAIR", "image:T1ce", "mask"], None),
    "brats2018-demo": (["image:FLAIR", "image:T1", "mask:finding"], None),
    "busi": (["image", "mask", "benign", "malignant"], None),
    "chaos-ct": (["image:CT", "mask:liver"], None),
    "glas-goblet": (["image", "mask:finding"], None),
    "kvasir-seg-tiles": (["image", "patient", "mask", "finding"], 167),
    "lgg-tcga-64": (["image:FLAIR", "image:post", "image:pre", "mask:tumour"], None),
    "ms-ljubljana": (
        ["image:FLAIR", "image:T1", "image:T1ce", "image:T2", "mask:lesions"],
        None,
    ),
    "nuclei-tcga-glioma": (["image", "patient", "mask:finding"], 3),
    "ph2-tiles": (["image", "patient", "mask", "finding"], 132),
    "prostatex-dicom": (["image:ADC", "image:HBV", "finding"], None),
}


@pytest.mark.parametrize("name", SETS)
def test_what_is_guessed(name: str, shared_data: Path) -> None:
    columns, patients = SETS[name]
    start = look(shared_data / name, shared_data / name)
    assert list(start.columns) == columns
    found = start.columns.get("patient")
    assert (len(set(found)) if found else None) == patients


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glas-goblet", ["the patient tells the tag of 86% of the images"]),
        ("busi", ["normal_042 and images/normal_045 look nearly the same", "the width", "height"]),
        ("ph2-tiles", []),
    ],
)
def test_what_is_warned_of(
    name: str,
    words: list[str],
    shared_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(shared_data / name / "tags.csv", out=tmp_path, workers=1)
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if line.strip()[:1].isdigit()]
    assert len(lines) == len(words)
    assert all(any(each in line for line in lines) for each in words)
