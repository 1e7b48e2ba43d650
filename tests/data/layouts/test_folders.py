"""A folder for each class, and one without findings."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsseg.data.layouts import detect, find_cases
from wsseg.data.layouts.cases import MaskFile
from wsseg.data.preparation import prepare
from wsseg.utils.errors import InputError


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(1, 200, (20, 24)).astype("u1")).save(path)


def mask(path: Path, column: int) -> None:
    pixels = np.zeros((20, 24), bool)
    pixels[3:6, column] = True
    Image.fromarray(pixels).save(path)


def breasts(root: Path) -> None:
    """As the distribution of BUSI is."""
    for number, folder in enumerate(("benign", "malignant", "normal")):
        for count in (1, 2):
            picture(root / folder / f"{folder} ({count}).png", 10 * number + count)
            mask(root / folder / f"{folder} ({count})_mask.png", 4)
    mask(root / "benign" / "benign (2)_mask_1.png", 9)
    (root / "benign" / ".ipynb_checkpoints").mkdir()
    picture(root / "benign" / ".ipynb_checkpoints" / "x.png")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    breasts(tmp_path)
    assert detect(tmp_path) == "folders"
    found = find_cases("folders", tmp_path)
    assert found.classes == {"benign": (1,), "malignant": (2,)}
    assert found.modalities == ("image",)
    assert [case.id for case in found.cases] == [
        f"{folder}/{folder} ({count})"
        for folder in ("benign", "malignant", "normal")
        for count in (1, 2)
    ]
    assert found.cases[1].mask == tuple(
        MaskFile(tmp_path / "benign" / f"benign (2)_mask{more}.png", 1) for more in ("", "_1")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare("folders", tmp_path, tmp_path.parent / "store", folds=2, workers=1)
    manifest = json.loads((store / "manifest.json").read_text())
    assert [case["tags"][0] for case in manifest["cases"]] == [[1, 0]] * 2 + [[0, 1]] * 2 + [
        [0, 0]
    ] * 2
    assert np.load(store / "masks" / "benign" / "benign (2).npy").sum(axis=(2, 3)).tolist() == [
        [6, 0]
    ]


@pytest.mark.parametrize("name", ["Normal", "no finding", "no_polyp", "healthy", "0", "Negative"])
def test_names_of_the_folder_without_findings(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "1" / "deeper" / "a.png")
    picture(tmp_path / name / "a.png")
    found = find_cases("folders", tmp_path)
    assert found.classes == {"1": (1,)}
    assert {case.id for case in found.cases} == {"1/deeper/a", f"{name}/a"}


@pytest.mark.parametrize(
    ("folders", "problem"),
    [
        (
            ["images", "masks"],
            r"has no folder .* such as `normal` \(.*: `images`, `masks`\); rename",
        ),
        (["normal", "healthy", "tumour"], "has several folders of images without findings"),
        (["normal"], "has no folder of images with a finding"),
        ([], r"\(folders of images: none\)"),
    ],
)
def test_folders_that_cannot_be_told_apart(
    tmp_path: Path, folders: list[str], problem: str
) -> None:
    for folder in folders:
        picture(tmp_path / folder / "a.png")
    with pytest.raises(InputError, match=problem):
        find_cases("folders", tmp_path)
    with pytest.raises(InputError, match="no known layout"):
        detect(tmp_path)
