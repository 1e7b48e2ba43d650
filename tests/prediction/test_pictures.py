"""Prediction of pictures: masks on their own pixels, pictures upright and in true colour."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
import torch
from PIL import Image
from torch import Tensor

from wsseg.data.anatomy import find_anatomy, reference_of
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan
from wsseg.data.readers import COLOURS
from wsseg.data.spec import DataSpec
from wsseg.models import Finishing
from wsseg.prediction.command import predict
from wsseg.utils.errors import InputError
from wsseg.visualisation.colours import GROUND

SIZE = (36, 52)  # rows and columns
LESION = (slice(4, 12), slice(30, 44))  # above and to the right of the middle
INK = (200, 40, 90)


class Bright(pl.LightningModule):
    """Finds what is bright in the first channel; a second class only where it is said to be."""

    threshold = 0.5
    finishing = Finishing(refinement=0.0, smallest_component=0.0)

    def __init__(self, modalities: tuple[str, ...] = COLOURS, **classes: tuple[int, ...]) -> None:
        super().__init__()
        self.spec = DataSpec(modalities, classes or {"lesion": (1,)}, "axial", None, (64, 64))

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        bright = torch.sigmoid((image[:, :1] - 1) * 6) * valid[:, None]
        missing = torch.zeros_like(bright).expand(-1, len(self.spec.classes) - 1, -1, -1)
        return torch.cat([bright, missing], dim=1)


def use(monkeypatch: pytest.MonkeyPatch, module: Bright) -> Bright:
    """Let a module stand in for whatever the checkpoint holds."""
    monkeypatch.setattr("wsseg.checkpoints.loading.load_module", lambda _: module.eval())
    return module


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Bright:
    return use(monkeypatch, Bright())


def colours() -> np.ndarray:
    """A picture [rows, columns, 3] that is dark but for a patch of one colour."""
    picture = np.random.default_rng(0).integers(20, 40, (*SIZE, 3), np.uint8)
    picture[LESION] = INK
    return picture


def truth() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[LESION] = 1
    return mask


def save(picture: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def run(source: Path, output: Path, **options: Any) -> list[Path]:
    return predict(ckpt_path=Path("any.ckpt"), input=source, output=output, **options)


def rows_of(output: Path) -> list[dict[str, str]]:
    with (output / "cases.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_lie_on_the_pixels_of_pictures_in_any_folder(tmp_path: Path, module: Bright) -> None:
    save(colours(), tmp_path / "in" / "left" / "ann.1.png")
    save(colours(), tmp_path / "in" / "ben.bmp")
    save(colours(), tmp_path / "in" / ".thumbnails" / "ben.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    masks = run(tmp_path / "in", tmp_path / "out")
    assert masks == [tmp_path / "out/masks/ben.png", tmp_path / "out/masks/left/ann.1.png"]
    for path in masks:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), truth())
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), truth())
    assert (tmp_path / "out/pictures/left/ann.1.png").is_file()
    assert [row["case"] for row in rows_of(tmp_path / "out")] == ["ben", "left/ann.1"]
    assert run(tmp_path / "in" / "ben.bmp", tmp_path / "one") == [tmp_path / "one/masks/ben.png"]


def test_the_table_says_what_was_found_and_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Bright(COLOURS, cyst=(3,), mass=(1,)))
    two = colours()
    two[30:33, 5:9] = INK
    save(two, tmp_path / "in" / "ann.png")
    save(np.where(colours() > 40, 30, colours()).astype(np.uint8), tmp_path / "in" / "ben.png")
    run(tmp_path / "in", tmp_path / "out")
    first, second, *others = rows_of(tmp_path / "out")
    assert (first["class"], first["label"]) == ("cyst", "3")
    assert (first["size"], first["unit"], first["components"]) == ("124", "px", "2")
    assert 0.9 < float(first["confidence"]) <= 1
    assert not first["note"]
    missing = {"case": "ann", "class": "mass", "label": "1", "size": "0", "unit": "px"}
    assert second == missing | {"components": "0", "confidence": "", "note": "nothing found"}
    assert len(others) == 2
    said = capsys.readouterr().err
    assert "2 of 2 cases have no mass: ann, ben\n" in said
    assert "Mask labels: 0 background, 1 mass, 3 cyst\n" in said
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "ann.png"))
    assert np.unique(mask).tolist() == [0, 3]


def test_pictures_are_upright_and_in_true_colour(tmp_path: Path, module: Bright) -> None:
    run(save(colours(), tmp_path / "ann.png"), tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out" / "pictures" / "ann.png")).astype(int)
    close = np.abs(sheet - INK).max(axis=-1) < 12
    rows, columns = np.nonzero(close)
    panel = np.nonzero((np.abs(sheet - GROUND).max(axis=-1) > 2).sum(axis=1) > 500)[0]
    middle = (panel[0] + panel[-1]) / 2
    assert close.sum() > 5000, "the patch has its own colour"
    assert rows.max() < middle, "what is above is above"
    left = columns[columns < sheet.shape[1] / 2]
    assert left.min() > sheet.shape[1] / 4, "what is to the right is to the right"
    height, width = np.ptp(rows), np.ptp(left)
    assert width / height == pytest.approx(14 / 8, rel=0.1)


def test_white_corners_change_no_colour(tmp_path: Path, module: Bright) -> None:
    picture = np.full((*SIZE, 3), 255, np.uint8)
    picture[2:-2, 2:-2] = colours()[2:-2, 2:-2]
    run(save(picture, tmp_path / "ann.png"), tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out" / "pictures" / "ann.png")).astype(int)
    assert (np.abs(sheet - INK).max(axis=-1) < 12).sum() > 5000


def test_grey_pictures_are_cases_of_one_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Bright(("image",)))
    [mask] = run(save(colours()[..., 0], tmp_path / "ann.png"), tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), truth())
    use(monkeypatch, Bright(("T1", "T2")))
    with pytest.raises(InputError, match=r"ann.png: is a single image of 1 channel, but"):
        run(tmp_path / "ann.png", tmp_path / "out")


def test_large_labels_make_pngs_of_16_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Bright(COLOURS, cell=(300,)))
    [path] = run(save(colours(), tmp_path / "ann.png"), tmp_path / "out")
    expected = truth().astype(np.uint16) * 300
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), expected)


def test_probabilities_on_request(tmp_path: Path, module: Bright) -> None:
    run(save(colours(), tmp_path / "ann.png"), tmp_path / "out", probabilities=True)
    pixels = np.asarray(Image.open(tmp_path / "out" / "probabilities" / "1_lesion" / "ann.png"))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels / 65_535 > 0.5, truth())
    assert pixels[LESION].min() > 0.9 * 65_535


def test_what_an_earlier_prediction_wrote_is_replaced_and_no_input(
    tmp_path: Path, module: Bright
) -> None:
    save(colours(), tmp_path / "ann.png")
    for _ in range(2):
        assert run(tmp_path, tmp_path) == [tmp_path / "masks" / "ann.png"]
        assert run(tmp_path, tmp_path / "out") == [tmp_path / "out" / "masks" / "ann.png"]


def test_masks_that_somebody_drew_are_never_overwritten(tmp_path: Path, module: Bright) -> None:
    save(colours(), tmp_path / "images" / "ann.png")
    save(truth() * 255, tmp_path / "masks" / "ann.png")
    with pytest.raises(InputError, match=r"masks/ann.png: exists, and no prediction wrote it"):
        run(tmp_path / "images", tmp_path)
    assert np.asarray(Image.open(tmp_path / "masks" / "ann.png")).max() == 255


def test_a_damaged_picture_stops_no_other(tmp_path: Path, module: Bright) -> None:
    save(colours(), tmp_path / "in" / "ann.png")
    (tmp_path / "in" / "ben.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"ben\.png"):
        run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "masks" / "ann.png").is_file()
    assert [row["case"] for row in rows_of(tmp_path / "out")] == ["ann"]


def test_a_table_and_folders_of_classes_list_cases_too(tmp_path: Path, module: Bright) -> None:
    for name in ("normal/ann", "cyst/ben"):
        save(colours(), tmp_path / "in" / f"{name}.png")
    save(truth() * 255, tmp_path / "in" / "cyst" / "ben_mask.png")
    (tmp_path / "cases.csv").write_text("image;age\nin/normal/ann.png;41\n")
    assert run(tmp_path / "in", tmp_path / "out") == [
        tmp_path / "out/masks/cyst/ben.png",
        tmp_path / "out/masks/normal/ann.png",
    ]
    with pytest.warns(UserWarning, match="age"):
        [mask] = run(tmp_path / "cases.csv", tmp_path / "listed")
    assert mask == tmp_path / "listed/masks/in/normal/ann.png"
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), truth())
    with pytest.raises(InputError, match=r"cases.csv: would overwrite an input file"):
        run(tmp_path / "cases.csv", tmp_path)


def test_a_picture_that_looks_unlike_training_is_announced(
    tmp_path: Path, module: Bright, recwarn: pytest.WarningsRecorder
) -> None:
    train = np.stack([colours()[..., n].T[..., None] for n in range(3)])
    plan = Plan("picture", "whole", "px", scales=(Scale(0.0, 255.0, 40.0, 30.0),) * 3)
    module.spec = replace(module.spec, plan=plan)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    reference = reference_of(find_anatomy(list(train), affine, module.spec))
    module.spec = replace(module.spec, plan=replace(plan, reference=reference))
    save(colours(), tmp_path / "in" / "ann.png")
    run(tmp_path / "in", tmp_path / "out")
    assert not recwarn.list
    save(255 - colours(), tmp_path / "in" / "ben.png")
    with pytest.warns(
        UserWarning, match="1 of 2 cases may be predicted wrongly.*; ben: .* exchang"
    ):
        run(tmp_path / "in", tmp_path / "out")
    notes = {row["case"]: row["note"] for row in rows_of(tmp_path / "out")}
    assert not notes["ann"]
    assert "black and white were exchanged: invert it" in notes["ben"]
