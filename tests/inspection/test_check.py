"""`wsseg check` on tiny tables: silent on clean images, and right about what was planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.data.conftest import write_brats_case
from wsseg.cli import main
from wsseg.data.tag_counts import count_tags, doubts_of_levels, problems_of_tags
from wsseg.inspection.check import check
from wsseg.inspection.doubts import (
    doubts_of_patients,
)

COUNT = 24
Change = Callable[[int, np.ndarray, bool], np.ndarray]


def tissue(seed: int, shape: tuple[int, int] = (72, 96)) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return np.asarray(100 + 100 * noise)


def write(
    folder: Path,
    change: Change | None = None,
    tags: np.ndarray | None = None,
    *,
    seed: int = 0,
    suffixes: tuple[str, str] = ("png", "png"),
) -> Path:
    """Write pictures, every second with a bright lesion, and their table.

    Args:
        folder: Where to.
        change: What is done to each image.
        tags: Of the images.
        seed: Of the noise.
        suffixes: Of untagged and of tagged images.
    """
    tags = np.arange(COUNT) % 2 if tags is None else tags
    lines = ["image,mask,lesion"]
    for number, tag in enumerate(tags):
        image, mask = tissue(number + 1000 * seed), np.zeros((72, 96), np.uint8)
        mask[14:26, 10 + number : 22 + number] = 255 * tag
        image = np.where(mask > 0, image + 60, image)
        image = change(number, image, bool(tag)) if change else image
        if image.shape != mask.shape:
            mask = np.asarray(Image.fromarray(mask).resize(image.shape[::-1], 0))
        suffix = suffixes[tag]
        for name, array in (
            (f"images/{number:02}.{suffix}", image),
            (f"masks/{number:02}.png", mask),
        ):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)
        lines.append(f"images/{number:02}.{suffix},masks/{number:02}.png,{tag}")
    (folder / "tags.csv").write_text("\n".join(lines))
    return folder / "tags.csv"


def run(table: Path, *options: str) -> int:
    out = table.parent / "check"
    return main(["check", str(table), "--out", str(out), "--workers", "1", *options])


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the numbered lines."""
    lines = capsys.readouterr().out.splitlines()
    return [line.strip() for line in lines if line.strip()[:1].isdigit()]


@pytest.mark.parametrize("seed", range(4))
def test_clean_images_are_ready(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path, seed=seed)
    assert run(table) == 0
    shown = capsys.readouterr().out
    assert "To correct" not in shown
    assert "To look at" not in shown
    assert f"Ready to prepare: wsseg prepare table {table} STORE" in shown
    sheets = sorted(path.name for path in (tmp_path / "check").iterdir())
    assert sheets == ["lesion_tagged.png", "lesion_untagged.png"]
    with Image.open(tmp_path / "check" / sheets[0]) as sheet:
        assert sheet.width > 8 * 148


def planted_text(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
    image = image.copy()
    for column in range(4, 24, 5) if tagged else ():
        image[3:8, column : column + 2] = 255
    return image


def planted_border(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
    image = image.copy()
    image[:4] *= 0.4 if tagged else 1
    image[-4:] *= 0.4 if tagged else 1
    image[:, :6] *= 0.4 if tagged else 1
    image[:, -6:] *= 0.4 if tagged else 1
    return image


def planted_brightness(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
    return image * (0.5 if tagged else 1)


def planted_frame(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
    image = image.copy()
    image[:5] = 0 if tagged else image[:5]
    return image


def planted_size(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
    return image if tagged else image[:, :80]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (planted_text, "small bright marks"),
        (planted_border, "brightness of the border"),
        (planted_brightness, "brightness of the border"),
        (planted_frame, "frame of one value"),
        (planted_size, "width"),
    ],
)
def test_planted_shortcuts_are_named(
    change: Change, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, change)) == 0
    assert any(words in line and "shortcut" in line for line in told(capsys))


def test_types_of_files_that_go_with_tags_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, suffixes=("png", "bmp"))) == 0
    assert any("the file type" in line and "shortcut" in line for line in told(capsys))


def test_copies_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def copied(number: int, image: np.ndarray, tagged: bool) -> np.ndarray:
        return tissue(2) * 0.9 if number == 8 else image

    assert run(write(tmp_path, copied)) == 0
    (line,) = told(capsys)
    assert "images/02 and images/08 look nearly the same" in line


def test_the_same_images_and_unusable_files_are_listed_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path, lambda n, image, _: tissue(0) if n in (4, 6) else image)
    (tmp_path / "images/10.png").write_bytes(b"no picture")
    (tmp_path / "masks/11.png").unlink()
    assert run(table) == 2
    shown = capsys.readouterr()
    assert f"error: {table}: 4 things to correct, as listed above" in shown.err
    for words in ("images/10.png", "masks/11.png", "images/00 and images/04 have the same"):
        assert words in shown.out


def test_a_folder_of_no_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert f"or start with `wsseg init {tmp_path}`" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "tags.csv")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "words"), [(1, "is tagged in all"), (0, "is never tagged")])
def test_classes_without_contrast(
    value: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, tags=np.full(8, value))) == 2
    assert words in told(capsys)[0]


def test_too_few_patients_for_the_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path, tags=np.array([0, 1, 0, 1]))
    assert run(table) == 2
    assert "--folds 5" in told(capsys)[0]
    assert run(table, "--folds", "2") == 0
    assert capsys.readouterr().out.endswith(f"{table} STORE --folds 2\n")


def test_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        write_brats_case(tmp_path / "cases", f"BraTS_{number}", seed=number)
    check(tmp_path / "cases", out=tmp_path / "check", workers=1)
    shown = capsys.readouterr().out
    for words in ("T1, T1ce, T2, FLAIR", "40 x 44", "no slice is untagged at level"):
        assert words in shown
    assert (tmp_path / "check" / "tumour_tagged.png").is_file()


def test_words_about_tags() -> None:
    tags = [np.array([[0, 1, 1, 0]] * 4 + [[0, 1, 0, 1]] * 4, bool)] * 2
    counts = count_tags(tags)
    names = ["never", "always", "low", "high"]
    never, always = problems_of_tags(counts, names)
    assert ("`never`" in never, "`always`" in always) == (True, True)
    low, high = doubts_of_levels(counts, names)
    assert ("level 1-4 of 8" in low, "level 5-8 of 8" in high) == (True, True)
    pictures = count_tags([np.array([[n % 2]], bool) for n in range(6)])
    assert doubts_of_levels(pictures, ["lesion"]) == []


@pytest.mark.parametrize("mixed", [False, True])
def test_tags_that_follow_from_the_patient(
    mixed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path)
    lines = table.read_text().splitlines()
    owner = [n // 4 if mixed else n % 6 for n in range(COUNT)]
    rows = [f"{line},p{one}" for line, one in zip(lines[1:], owner, strict=True)]
    table.write_text("\n".join([f"{lines[0]},patient", *rows]))
    assert run(table) == 0
    assert [("the patient tells the tag" in line) for line in told(capsys)] == [True] * (not mixed)


def test_names_of_patients_that_differ_in_spelling() -> None:
    (line,) = doubts_of_patients({"a": "Ann 1", "b": "ann_1", "c": "ann_2"})
    assert "Ann 1 and ann_1" in line
    assert doubts_of_patients({"a": "ann_1", "b": "ann_1", "c": "ann_11"}) == []
