"""`wsseg init` on folders of files as people have them."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.conftest import write_brats_case
from wsseg.cli import main
from wsseg.data.layouts import find_cases
from wsseg.data.readers import read_header
from wsseg.inspection.templates import configuration

Write = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[2]


def picture(path: Path, *, value: int | None = None) -> None:
    """Write noise, or an image of 0 with a square of a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(crc32(path.name.encode()))
    pixels = rng.integers(1, 250, (24, 32)).astype(np.uint8)
    if value is not None:
        pixels[:] = 0
        pixels[4:12, 6:16] = value
    Image.fromarray(pixels).save(path)


def volume(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2, 3, 1])), path)


def noise(shape: tuple[int, int, int] = (20, 24, 8)) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, shape).astype(np.int16)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open() as stream:
        return list(csv.DictReader(stream))


def next_of(shown: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in shown.partition("Next:\n")[2].splitlines() if line]


def test_pictures_without_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"deep/{name}.png")
    assert main(["init", str(tmp_path)]) == 0
    assert rows(tmp_path / "tags.csv") == [
        {"image": "deep/a.png", "finding": ""},
        {"image": "deep/b.png", "finding": ""},
    ]
    shown = capsys.readouterr().out
    for words in ("2 image files", "pictures of 32 x 24 pixels, grey", "Fill in `finding`"):
        assert words in shown
    assert main(["check", str(tmp_path / "tags.csv"), "--out", str(tmp_path / "check")]) == 2
    assert "`finding` not used" in capsys.readouterr().out


def test_links_are_followed_once_and_a_lone_patient_is_said_to_be_too_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "real/a.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/loop").symlink_to(tmp_path / "mine")
    assert main(["init", str(tmp_path / "mine")]) == 0
    assert "Add images of other patients: there is only one" in capsys.readouterr().out
    assert [row["image"] for row in rows(tmp_path / "mine/tags.csv")] == ["link/a.png"]


def test_names_and_masks_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("p1_pos", "p1_neg", "p2_pos", "p2_neg"):
        picture(tmp_path / f"images/{name}.png")
        picture(tmp_path / f"masks/{name}.png", value=255 * ("pos" in name))
    assert main(["init", str(tmp_path)]) == 0
    assert rows(tmp_path / "tags.csv")[1] == {
        "image": "images/p1_pos.png",
        "patient": "p1",
        "mask": "masks/p1_pos.png",
        "finding": "1",
    }
    commands = next_of(capsys.readouterr().out)
    assert [words[0] for words in commands] == ["check", "prepare", "fit"]
    assert commands[0][-2:] == ["--folds", "2"]
    assert main([*commands[0], "--out", str(tmp_path / "check"), "--workers", "1"]) == 0


def test_a_folder_for_each_case_and_a_mask_that_only_its_content_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((20, 24, 8), np.uint8)
    mask[4:9, 4:9, 2:5] = 1
    for name in ("ann", "ben"):
        volume(tmp_path / f"data/{name}/pre.nii.gz", noise())
        volume(tmp_path / f"data/{name}/T2.nii.gz", noise())
        volume(tmp_path / f"data/{name}/cyst.nii.gz", mask)
        volume(tmp_path / f"data/{name}/adc.nii.gz", noise((10, 12, 8)))
    assert main(["init", str(tmp_path / "data"), "--out", str(tmp_path / "mine")]) == 0
    first = rows(tmp_path / "mine/tags.csv")[0]
    assert first == {
        "id": "ann",
        "image:T2": "../data/ann/T2.nii.gz",
        "image:pre": "../data/ann/pre.nii.gz",
        "mask:cyst": "../data/ann/cyst.nii.gz",
    }
    assert "left out, on another grid of voxels or not in all: ADC" in capsys.readouterr().out
    assert list(find_cases("table", tmp_path / "mine/tags.csv").classes) == ["cyst"]


@pytest.mark.filterwarnings("ignore:.* not used")
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("described", ["t2", ""])
def test_a_folder_that_is_a_series(
    tmp_path: Path,
    write_slice: Write,
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
    several: bool,
    described: str,
) -> None:
    for number in range(1 + several):
        for height in (0.0, 2.0, 4.0):
            write_slice(
                tmp_path / "one" / f"{number}_{height}",
                height,
                SeriesInstanceUID=f"1.{number}",
                SeriesDescription=described and f"{described}_{number}",
            )
    monkeypatch.chdir(tmp_path if named else tmp_path / "one")
    assert main(["init", "one" if named else "."]) == 0
    found = find_cases("table", tmp_path / "one" / "tags.csv")
    images = [image for case in found.cases for image in case.images.values()]
    assert len(images) == 1 + several
    assert all(read_header(image.path, "").shape == (5, 4, 3) for image in images)
    assert all(case.id.startswith("one") for case in found.cases) or several


def test_series_in_one_folder_are_modalities(tmp_path: Path, write_slice: Write) -> None:
    for name in ("P1", "P2"):
        for number, series in enumerate(("ep2d_ADC", "t2_tse")):
            for height in (0.0, 2.0):
                write_slice(
                    tmp_path / name / f"{series}{height}",
                    height,
                    SeriesInstanceUID=f"1.{number}",
                    SeriesDescription=series,
                )
    assert main(["init", str(tmp_path)]) == 0
    assert rows(tmp_path / "tags.csv")[1] == {
        "image:ADC": "P2#1.0",
        "image:T2": "P2#1.1",
        "finding": "",
    }


def test_cases_that_lack_a_modality_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ann", "ben", "eve"):
        volume(tmp_path / name / "T1.nii.gz", noise())
        if name != "eve":
            volume(tmp_path / name / "T2.nii.gz", noise())
    assert main(["init", str(tmp_path)]) == 0
    assert len(rows(tmp_path / "tags.csv")) == 3
    assert "not in all: T2" in capsys.readouterr().out


def test_tags_are_read_from_masks_where_some_images_have_none(tmp_path: Path) -> None:
    mask = np.zeros((20, 24, 8), np.uint8)
    mask[4:9, 4:9, 2:5] = 1
    for name in ("ann", "ben"):
        volume(tmp_path / f"{name}_ct.nii.gz", noise())
    volume(tmp_path / "ann_seg.nii.gz", mask)
    assert main(["init", str(tmp_path)]) == 0
    found = [row["finding"] for row in rows(tmp_path / "tags.csv")]
    assert found == ["2-4", ""]


def test_masks_of_several_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png")
        picture(tmp_path / f"{number}_label.png", value=1 + number % 2)
    assert main(["init", str(tmp_path)]) == 0
    assert list(rows(tmp_path / "tags.csv")[0]) == ["image", "mask"]
    (command, *_) = next_of(capsys.readouterr().out)
    assert "{label_1: [1], label_2: [2]}" in command
    assert main([*command, "--out", str(tmp_path / "check"), "--workers", "1"]) == 0


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "tags.csv").write_text("mine")
    (tmp_path / "wsseg.yaml").write_text("mine, too")
    assert main(["init", str(tmp_path)]) == 2
    assert "tags.csv: is there already" in capsys.readouterr().err
    (tmp_path / "tags.csv").unlink()
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "wsseg.yaml").read_text() == "mine, too"
    assert main(["init", str(tmp_path / "a.png")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 2
    assert "holds no image" in capsys.readouterr().err


def brats(folder: Path) -> None:
    write_brats_case(folder, "ann")


def classes(folder: Path) -> None:
    for name in ("cyst/1", "normal/1"):
        picture(folder / f"{name}.png")


def table(folder: Path) -> None:
    picture(folder / "1.png")
    (folder / "list.csv").write_text("image,cyst\n1.png,1\n")


@pytest.mark.parametrize(
    ("write", "layout"), [(brats, "brats"), (classes, "folders"), (table, "table")]
)
def test_known_layouts_need_no_table(
    write: Callable[[Path], None],
    layout: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path)
    assert main(["init", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"follows the layout `{layout}`" in shown
    assert next_of(shown)[1][:2] == ["prepare", layout]
    assert (tmp_path / "wsseg.yaml").is_file()
    assert not (tmp_path / "tags.csv").exists()


def test_the_configuration_is_that_of_the_quick_start() -> None:
    found = yaml.safe_load(configuration(["wsseg fit"]))
    assert (found["data"].pop("root"), found["trainer"].pop("default_root_dir")) == ("STORE", "RUN")
    quickstart = (REPOSITORY / "experiments/quickstart.yaml").read_text()
    assert found == yaml.safe_load(quickstart)
