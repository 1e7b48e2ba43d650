"""Which confidence tells good masks best? Compares several with the true Dice of held-out cases.

    python experiments/confidence/correlation.py CHECKPOINT STORE OUTPUT.csv

Predicts the validation and test cases of a fold as ``wsseg test`` does, also mirrored and with the
network instead of its teacher. Writes for every case and class that is drawn the Dice and the
values compared, and prints the rank correlation (Spearman) of each with the Dice. A case in which
nothing is found has the value 0.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from wsseg.checkpoints.loading import load_module
from wsseg.data.masked import MaskedSliceDataset
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.models.network_input import slice_input
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.finishing import finish

TOGETHER = 32  # slices of a forward pass

Row = dict[str, float | str]


def soft_dice(left: Tensor, right: Tensor) -> float:
    """Return the soft Dice; 0 if either is empty."""
    return float(2 * (left * right).sum() / (left.sum() + right.sum()).clamp_min(1e-9))


def predict(module: SliceModule, network: nn.Module, image: Tensor, valid: Tensor) -> Tensor:
    """Return probabilities [S, C, H, W] of slices."""
    parts = [
        module.predict_with(network, slice_input(*pair, module.symmetric), pair[1]).probability
        for pair in zip(image.split(TOGETHER), valid.split(TOGETHER), strict=True)
    ]
    return torch.cat(parts) * valid[:, None]


def values_of(module: SliceModule, store: SliceStore, case: CaseSlices) -> list[Row]:
    """Return the Dice and the values compared of each class that is drawn in a case."""
    slices = MaskedSliceDataset(store, [case])
    batch = slices.__getitems__(range(len(slices)))
    image, valid = batch["image"], batch["valid"]
    with torch.inference_mode():
        said = predict(module, module.teacher.module, image, valid)
        mirrored = predict(module, module.teacher.module, image.flip(-1), valid.flip(-1)).flip(-1)
        of_network = predict(module, module.network, image, valid)
        masks = (finish(module, said, image, valid) > module.threshold).float()
        of_mirrored = (finish(module, mirrored, image, valid) > module.threshold).float()
    rows = []
    for c, name in enumerate(store.spec.classes):
        truth, mask, probability = batch["mask"][:, c].float(), masks[:, c], said[:, c]
        inside = probability[mask > 0]
        own = (probability > module.threshold).float()
        row: Row = {
            "case": case.id,
            "class": name,
            "dice": soft_dice(mask, truth),
            "mean probability inside the mask": float(inside.mean()) if len(inside) else 0.0,
            "mean distance from 0.5 inside the mask": (
                float(2 * (inside - 0.5).abs().mean()) if len(inside) else 0.0
            ),
            "soft Dice of probability and mask": soft_dice(probability, mask),
            "Dice of mask and mask before it is finished": soft_dice(own, mask),
            "Dice of mask and mask of the mirrored case": soft_dice(of_mirrored[:, c], mask),
            "Dice of teacher and network": soft_dice(own, (of_network[:, c] > 0.5).float()),
        }
        if truth.any():
            rows.append(row)
    return rows


def main() -> None:
    """Predict, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    options = parser.parse_args()
    module, store = load_module(options.checkpoint).eval(), SliceStore(options.store)
    splits = store.split(options.fold)
    rows = [
        row for case in splits["val"] + splits["test"] for row in values_of(module, store, case)
    ]
    with options.output.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    dice = [row["dice"] for row in rows]
    print(f"{len(rows)} cases, mean Dice {np.mean(np.asarray(dice, float)):.3f}")
    for name in list(rows[0])[3:]:
        print(f"{name}: {spearmanr([row[name] for row in rows], dice).statistic:.2f}")


if __name__ == "__main__":
    main()
