"""Slice stores and volumes of the shapes that timings are taken on; pictures do not matter here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from wsseg.data.spec import FORMAT, DataSpec

SLICES_PER_CASE = 50
MODALITIES = ("T1", "T1ce", "T2", "FLAIR")


def write_store(root: Path, slices: int, size: int, modalities: int = 4) -> Path:
    """Write a store of elliptic heads with smooth noise; the middle 60 % of the slices hold a spot.

    Args:
        root: Folder to make.
        slices: Training slices; as many as a case has more for validation and for testing.
        size: Height and width.
        modalities: Number of modalities.

    Returns:
        The folder.
    """
    for name in ("images", "valid", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    counts = [SLICES_PER_CASE] * (slices // SLICES_PER_CASE)
    counts += [rest] if (rest := slices % SLICES_PER_CASE) else []
    counts += [SLICES_PER_CASE] * 2
    cases = [
        _write_case(root, number, count, size, modalities) for number, count in enumerate(counts)
    ]
    manifest = {
        "format": FORMAT,
        "layout": "synthetic",
        "has_masks": True,
        "spec": _spec(size, modalities),
        "cases": cases,
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    names = [case["id"] for case in cases]
    fold = {"train": names[:-2], "val": names[-2:-1], "test": names[-1:]}
    (root / "splits.json").write_text(json.dumps({"seed": 0, "folds": [fold]}))
    return root


def write_case(folder: Path, depth: int, seed: int = 0) -> None:
    """Write a case of BraTS: four volumes of 240 x 240 x depth, a bright lesion and its mask.

    Args:
        folder: Folder of the case, whose name the files bear.
        depth: Slices.
        seed: Cases of other seeds have other images, as preparation demands.
    """
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    line = np.arange(240) / 240 - 0.5
    head = ((line[:, None] / 0.42) ** 2 + (line / 0.30) ** 2 < 1)[..., None]
    mask = np.zeros((240, 240, depth), np.uint8)
    mask[100:140, 80:120, depth // 4 : depth // 2] = 1
    for name in ("t1", "t1ce", "t2", "flair"):
        noise = torch.randint(1, 1000, (240, 240, depth), generator=draw).numpy()
        volume = nib.Nifti1Image((noise * head + 2000 * (mask > 0)).astype(np.int16), np.eye(4))
        nib.save(volume, folder / f"{folder.name}_{name}.nii.gz")
    nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / f"{folder.name}_seg.nii.gz")


def _write_case(root: Path, number: int, count: int, size: int, modalities: int) -> dict[str, Any]:
    draw = np.random.default_rng(number)
    coarse = draw.standard_normal((count, modalities, size // 8, size // 8), dtype=np.float32)
    image = coarse.repeat(8, axis=2).repeat(8, axis=3)
    image += 0.5 * draw.standard_normal(image.shape, dtype=np.float32)
    row, column = np.mgrid[:size, :size] / size - 0.5
    head = (row / 0.42) ** 2 + (column / 0.30) ** 2 < 1  # 40 % of the slice, as in BraTS
    valid = np.broadcast_to(head, (count, size, size))
    spot = (row - 0.05) ** 2 + (column - 0.12) ** 2 < 0.005
    tagged = slice(count // 5, count - count // 5)  # lesions reach over neighbouring slices
    mask = np.zeros((count, 1, size, size), bool)
    mask[tagged, 0] = spot
    image += 3 * mask
    np.save(root / "images" / f"case_{number}.npy", (image * head).astype(np.float16))
    np.save(root / "valid" / f"case_{number}.npy", valid)
    np.save(root / "masks" / f"case_{number}.npy", mask)
    return {
        "id": f"case_{number}",
        "slices": count,
        "tags": [[int(tagged.start <= row < tagged.stop)] for row in range(count)],
        "positions": list(range(count)),
        "spacing": [1.0, 1.0, 1.0],
        "sha256": {},
        "content": {"T1": f"case {number}"},
    }


def _spec(size: int, modalities: int) -> dict[str, Any]:
    return DataSpec(
        MODALITIES[:modalities], {"tumour": (1,)}, "axial", None, (size, size)
    ).to_dict()
