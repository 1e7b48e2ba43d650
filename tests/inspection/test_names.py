"""What is guessed from names of files, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsseg.data.layouts.grouping import group
from wsseg.data.layouts.roles import role_of
from wsseg.inspection.names import classes_in, patients_in


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("case7_T1", ("image", "T1", "case7")),
        ("case7-t1c", ("image", "T1ce", "case7")),
        ("Flair_subtrMeanDivStd", ("image", "FLAIR", "subtrMeanDivStd")),
        ("adc", ("image", "ADC", "")),
        ("17_mask", ("mask", "", "17")),
        ("17_mask_2", ("mask", "", "17")),
        ("TCGA-01_2_instances", ("mask", "", "TCGA-01_2")),
        ("labelsTr", ("mask", "", "")),
        ("GT_W", ("mask", "", "W")),
        ("images", ("image", "", "")),
        ("image_17", None),
        ("patient17", None),
        ("benign_t", None),
        ("___", None),
    ],
)
def test_roles(name: str, role: tuple[str, str, str] | None) -> None:
    assert role_of(name) == role


def test_classes_are_told_by_a_word_for_no_finding() -> None:
    names = ["a/cyst_1", "a/cyst_2", "a/mass_1", "a/mass_2", "b/normal_1", "b/normal_2"]
    assert classes_in(names) == {"cyst": [1, 1, 0, 0, 0, 0], "mass": [0, 0, 1, 1, 0, 0]}
    assert classes_in(["x1_pos0", "x1_neg0", "x2_pos1", "x2_neg1"]) == {"finding": [1, 0, 1, 0]}
    assert classes_in(["cyst_1", "cyst_2", "mass_1", "mass_2"]) == {}
    assert classes_in(["normal_1", "normal_2"]) == {}
    assert classes_in(["1", "2"]) == {}


def test_patients() -> None:
    assert patients_in(["sub-01/ses-1", "sub-01/ses-2"]) == ["sub-01", "sub-01"]
    assert patients_in(["TCGA-AB-1234-1", "TCGA-AB-1234-2"]) == ["TCGA-AB-1234"] * 2
    assert patients_in(["patient1", "patient2"]) is None  # each has one image
    assert patients_in(["normal_1", "normal_2"]) is None
    assert patients_in(["_", "a1"]) is None  # no word at all


def grouped(*names: str) -> dict[str, tuple[dict[str, str], list[str]]]:
    root = Path("data")
    return {
        each.id: (
            {name: path.relative_to(root).as_posix() for name, path in each.images.items()},
            sorted(path.relative_to(root).as_posix() for path in each.masks.values()),
        )
        for each in group(root, [root / name for name in names])
    }


def test_masks_beside_images() -> None:
    assert grouped("17.png", "17_mask_1.png", "17_mask_2.png", "18.png") == {
        "17": ({"": "17.png"}, ["17_mask_1.png", "17_mask_2.png"]),
        "18": ({"": "18.png"}, []),
    }


def test_parallel_folders() -> None:
    assert grouped("test/images/a.png", "test/masks/a_seg.png", "train/images/a.png") == {
        "test/a": ({"": "test/images/a.png"}, ["test/masks/a_seg.png"]),
        "train/a": ({"": "train/images/a.png"}, []),
    }
    assert list(grouped("T1/ann.nii", "FLAIR/ann.nii")["ann"][0]) == ["T1", "FLAIR"]


def test_a_folder_for_each_case() -> None:
    files = [f"{name}/{kind}.nii.gz" for name in ("ann", "ben") for kind in ("pre", "post", "seg")]
    assert grouped(*files)["ann"] == (
        {"pre": "ann/pre.nii.gz", "post": "ann/post.nii.gz"},
        ["ann/seg.nii.gz"],
    )


def test_counted_images_are_no_modalities() -> None:
    assert len(grouped("ann/1.png", "ann/2.png", "ben/1.png", "ben/2.png")) == 4
    assert len(grouped("ann/img1.png", "ann/img2.png", "ben/img1.png", "ben/img2.png")) == 4


def test_one_name_that_is_known_makes_no_case() -> None:
    assert len(grouped("photo.png", "ann.png", "ben.png", "eve.png")) == 4


def test_masks_alone_are_no_case() -> None:
    assert grouped("masks/17.png") == {}
