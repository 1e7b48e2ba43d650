"""Good examples of every kind of input, each in a folder of its own, all tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

from tests.data.conftest import write_brats_case, write_store
from wsseg.cli import main

SHAPE = (24, 26, 6)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
SMALL = "--model.widths=[2,4] --model.embedding_widths=[2,4] --trainer.accelerator=cpu"
QUIET = "--trainer.enable_progress_bar=false --trainer.max_epochs=1 --trainer.logger=false"
BENCHMARK = """
store: store
output: out
methods:
  cam: {config: config.yaml}
  threshold: {baseline: zscore_threshold}
"""


def patient(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A box of noise, and the labels of a tumour in its middle slices."""
    anatomy, labels = np.zeros(SHAPE, bool), np.zeros(SHAPE, np.uint8)
    anatomy[4:20, 3:23, 1:5] = True
    labels[8:12, 8:12, 2:4] = 1
    noise = np.random.default_rng(number).normal(100, 10, SHAPE) + 50 * labels
    return np.where(anatomy, noise, 0).astype(np.int16), labels


def save(path: Path, volume: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Write a volume as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, affine), path)


def picture(path: Path, number: int, channels: int = 3) -> None:
    """Write a picture of noise, with a bright square if the number is odd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 99, (32, 48, channels)).astype(np.uint8)
    pixels[8:20, 8:20] += np.uint8(90 * (number % 2))
    Image.fromarray(pixels.squeeze()).save(path)


def volumes(root: Path) -> None:
    """A datalist of four cases of two modalities with masks, whose first case has tags, too."""
    cases = []
    for number in range(4):
        first, labels = patient(number)
        second, _ = patient(number + 10)
        names = [f"c{number}{end}.nii.gz" for end in ("_A", "_B", "_mask")]
        for name, volume in zip(names, (first, second, labels), strict=True):
            save(root / name, volume)
        images = {"A": names[0], "B": names[1]}
        cases.append({"id": f"c{number}", "images": images, "mask": names[2]})
    content: dict[str, Any] = {"modalities": ["A", "B"], "classes": {"tumour": [1]}}
    (root / "list.json").write_text(json.dumps(content | {"cases": cases}))


def pictures(root: Path) -> None:
    """A table of six colour pictures with masks."""
    lines = ["image,mask,patient,lesion"]
    for number in range(6):
        picture(root / f"{number}.png", number)
        mask = np.zeros((32, 48), np.uint8)
        mask[8:20, 8:20] = 255 * (number % 2)
        Image.fromarray(mask).save(root / f"{number}_mask.png")
        lines.append(f"{number}.png,{number}_mask.png,p{number},{number % 2}")
    (root / "tags.csv").write_text("\n".join([*lines, ""]))


def folders(root: Path) -> None:
    """A folder for each class and one for pictures without findings."""
    for number in range(8):
        picture(root / "images" / ("normal", "lesion")[number % 2] / f"{number}.png", number)


def brats(root: Path) -> None:
    """Two cases with the names of BraTS 2018."""
    for number in range(2):
        write_brats_case(root / "images", f"case_{number}", seed=number, shape=(32, 32, 20))


def decathlon(root: Path) -> None:
    """A task of the Medical Segmentation Decathlon with three cases."""
    training = []
    for number in range(3):
        image, labels = patient(number)
        names = [f"images/c{number}.nii.gz", f"labels/c{number}.nii.gz"]
        for name, volume in zip(names, (image, labels), strict=True):
            save(root / name, volume)
        training.append(dict(zip(("image", "label"), names, strict=True)))
    content = {"modality": {"0": "T2"}, "labels": {"0": "background", "1": "organ"}}
    (root / "dataset.json").write_text(json.dumps(content | {"training": training}))


def lgg(root: Path) -> None:
    """Two cases of TCGA-LGG with slices as TIFF."""
    for case in range(2):
        volume, labels = patient(case)
        for plane in range(SHAPE[2]):
            stem = root / "images" / f"TCGA_{case}" / f"TCGA_{case}_{plane + 1}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            rgb = np.repeat(volume[:, :, plane].T[..., None], 3, axis=2).astype(np.uint8)
            tifffile.imwrite(f"{stem}.tif", rgb)
            tifffile.imwrite(f"{stem}_mask.tif", (labels[:, :, plane].T * 255).astype(np.uint8))


def store(root: Path) -> None:
    """A slice store, a configuration and a benchmark."""
    write_store(root / "store", size=16)
    model = "{class_path: CamModule, init_args: {widths: [2, 4], embedding_widths: [2, 4]}}"
    (root / "config.yaml").write_text(
        f"data: {{root: store}}\nmodel: {model}\ntrainer: {{max_epochs: 1, logger: false}}\n"
    )
    (root / "bench.yaml").write_text(BENCHMARK)


def run(root: Path) -> None:
    """A store, a run on it, and a case to predict."""
    store(root)
    fit = f"fit --data.root={root}/store --trainer.default_root_dir={root}/RUN {SMALL} {QUIET}"
    assert main(fit.split()) == 0
    for number, name in enumerate(("FLAIR", "T1")):
        save(root / "images" / "c0" / f"c0_{name.lower()}.nii.gz", patient(number)[0])


EXAMPLES = {
    each.__name__: each for each in (volumes, pictures, folders, brats, decathlon, lgg, store, run)
}
