"""Pictures are compressed, trained on and predicted from the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wsseg.cli import main

CONFIG = Path(__file__).resolve().parents[2] / (
    "experiments/comparators/after_compressed_equivariance.yaml"
)


def write_pictures(folder: Path, count: int = 4, side: int = 330) -> Path:
    """Grey noise; every second picture has a red square."""
    generator = np.random.default_rng(0)
    rows = [["image", "mask", "patient", "age", "red"]]
    for number in range(count):
        image = generator.integers(90, 130, (side, side, 1), np.uint8).repeat(3, axis=2)
        mask = np.zeros((side, side), np.uint8)
        if number % 2:
            mask[64:200, 96:230] = 255
            image[mask > 0] = (200, 40, 40)
        (folder / "scans").mkdir(parents=True, exist_ok=True)
        tile = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"}
        tifffile.imwrite(folder / f"scans/ö{number}.tif", image, **tile)  # type: ignore[arg-type]
        Image.fromarray(mask).save(folder / f"scans/ö{number}_mask.png")
        name = f"scans/ö{number}"
        rows.append([f"{name}.tif", f"{name}_mask.png", f"p{number}", "40.5", str(number % 2)])
    with (folder / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "tags.csv"


def test_from_pictures_to_masks_on_their_own_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out, run = write_pictures(tmp_path / "raw"), tmp_path / "grids", tmp_path / "run"
    assert main(["compress", str(table), str(out)]) == 0
    with (out / "tags.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["image"], row["age"]) == ("scans/ö0.tif", "40.5")
    store = tmp_path / "store"
    assert main(["prepare", "table", str(out / "tags.csv"), str(store), "--folds=2"]) == 0
    assert "112 features of cells of 16 pixels" in capsys.readouterr().out.replace("\n", " ")
    options = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    options += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    assert main(["fit", f"--config={CONFIG}", *options]) == 0
    checkpoint = f"--ckpt_path={run / 'last.ckpt'}"
    assert main(["test", f"--config={run / 'config.yaml'}", checkpoint]) == 0
    masks = []
    for name, source in (("of_grids", out / "tags.csv"), ("of_pictures", tmp_path / "raw/scans")):
        given = [f"--input={source}", f"--output={tmp_path / name}", "--threshold=0.1"]
        assert main(["predict", checkpoint, *given]) == 0
        masks.append(next((tmp_path / name / "masks").rglob("ö1.tif")).read_bytes())
    assert masks[0] == masks[1]
    mask = tifffile.imread(next((tmp_path / "of_grids" / "masks").rglob("ö1.tif")))
    assert mask.shape == (330, 330)


def test_what_cannot_be_compressed_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_pictures(tmp_path / "raw", count=2)
    (tmp_path / "raw/scans/ö0.tif").write_bytes(b"nonsense")
    (tmp_path / "raw/scans/ö1.tif").unlink()
    assert main(["compress", str(table), str(tmp_path / "grids")]) == 2
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "ö0.tif (case scans/ö0): is not a readable TIFF" in first
    assert "ö1.tif (case scans/ö1): does not exist" in second
    assert not (tmp_path / "grids").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["raw/tags.csv", "raw"], "is an input file; give another folder to write to"),
        (["raw/tags.csv", "grids", "--cell=20"], "--cell 20: must be 16, 32 or 64"),
        (["empty.csv", "grids"], "has no column `image`"),
    ],
)
def test_says_in_one_line_what_is_wrong(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "raw", count=1)
    (tmp_path / "empty.csv").write_text("picture,red\nann.png,1\n")
    assert main(["compress", *options]) == 2
    assert message in capsys.readouterr().err
