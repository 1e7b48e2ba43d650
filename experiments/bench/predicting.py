"""Prediction of a case of 240 x 240 x 155 voxels and 4 modalities, beside the bare forward pass."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from synthetic import MODALITIES
from timing import Row, device, measure, row

from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.prediction.command import write_masks
from wsseg.prediction.inference import predict_slices
from wsseg.prediction.raw import find_raw_cases, read_raw_case

CASES = 3


def rows(scale: float) -> list[Row]:
    """Predict some cases as ``wsseg predict`` does.

    Args:
        scale: Of the number of slices of a case.
    """
    depth = max(8, int(155 * scale))
    spec = DataSpec(MODALITIES, {"tumour": (1,)}, "axial", None, (240, 240))
    module = CamModule(spec.to_dict()).eval().to(device())
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        target.mkdir()
        for number in range(CASES):
            _write_case(source / f"case_{number}", depth)
        files = find_raw_cases(source, "brats", spec)
        case = read_raw_case(files[0], spec)
        bare = measure(lambda: predict_slices(module, case.image, case.valid, 32), repeats=2)

        def whole() -> None:
            list(write_masks(module, files, target, 0.5, 0.1, 32))

        seconds = [each / CASES for each in measure(whole, repeats=2, warmup=0)]
    over = min(seconds) / min(bare) - 1
    name = f"240 x 240 x {depth} x 4"
    return [
        row(f"{name}: forward pass alone", bare),
        row(f"{name}: NIfTI to NIfTI, {CASES} cases", seconds, note=f"{over:+.0%}, a case"),
    ]


def _write_case(folder: Path, depth: int) -> None:
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    line = np.arange(240) / 240 - 0.5
    head = ((line[:, None] / 0.42) ** 2 + (line / 0.30) ** 2 < 1)[..., None]
    for name in ("t1", "t1ce", "t2", "flair"):
        noise = torch.randint(1, 1000, (240, 240, depth), generator=draw).numpy()
        volume = nib.Nifti1Image((noise * head).astype(np.int16), np.eye(4))
        nib.save(volume, folder / f"{folder.name}_{name}.nii.gz")
