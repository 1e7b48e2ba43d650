"""Prediction of a case of 240 x 240 x 155 voxels and 4 modalities, beside the bare forward pass."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import torch
from synthetic import MODALITIES, write_case
from timing import Row, device, measure_in_turn, row
from torch import Tensor

from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.models.slice_module import SlicePrediction
from wsseg.prediction.inference import predict_slices
from wsseg.prediction.raw import read_raw_case
from wsseg.prediction.run import write_masks
from wsseg.prediction.sources import find_raw_cases

CASES = 3


class SeesBright(CamModule):
    """Finds the bright lesion, whatever its untrained network says: there is a mask to finish."""

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Run the network; return what is bright."""
        found = super().predict(image, valid)
        return found._replace(probability=torch.sigmoid(4 * (image[:, :1] - 2.5)))


def rows(scale: float) -> list[Row]:
    """Predict some cases as ``wsseg predict`` does.

    Args:
        scale: Of the number of slices of a case.
    """
    depth = max(8, int(155 * scale))
    spec = DataSpec(MODALITIES, {"tumour": (1,)}, "axial", None, (240, 240))
    module = SeesBright(spec.to_dict()).eval().to(device())
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        target.mkdir()
        for number in range(CASES):
            write_case(source / f"case_{number}", depth)
        files, _ = find_raw_cases(source, "brats", spec)
        case = read_raw_case(files[0], spec)

        def alone() -> None:
            predict_slices(module, case.image, case.valid, 32)

        def whole() -> None:
            list(write_masks(module, files, target, 32))

        found = measure_in_turn({"alone": alone, "whole": whole}, warmup=1)
    bare, seconds = found["alone"], [each / CASES for each in found["whole"]]
    over = median(seconds) / median(bare) - 1
    name = f"240 x 240 x {depth} x 4"
    return [
        row(f"{name}: forward pass alone", bare),
        row(f"{name}: NIfTI to NIfTI, {CASES} cases", seconds, note=f"{over:+.0%}, a case"),
    ]
