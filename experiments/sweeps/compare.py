"""Which scores that need no mask rank runs as their Dice does: ``compare.py FOLDER``.

Reads all runs in a folder that have been tested with masks (``metrics.json``), scores each by its
validation slices without their masks, and prints for every score its rank correlation with the
Dice of the test cases, and what choosing the best run by it loses.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torchmetrics.functional.classification import binary_auroc

from wsseg.checkpoints.loading import load_module, read_checkpoint
from wsseg.clustering.clusters import Clusters
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.dataset import SliceDataset
from wsseg.data.loading import slice_loader
from wsseg.evaluation.agreement import agreement, overlaps
from wsseg.evaluation.consensus import consensus, validation_probabilities
from wsseg.models.cam_module import CamModule

FALLING = ("train/loss", "clusters/churn", "clusters/relevant_area")  # less is thought to be better
LOGGED = (*FALLING, "val/tag_accuracy", "clusters/peak", "clusters/support")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of scores.

    Args:
        arguments: Those of the command line.
    """
    parser = argparse.ArgumentParser(description="Compare scores of runs with their Dice.")
    parser.add_argument("folder", type=Path, help="holds the folders of runs")
    given = parser.parse_args(arguments)
    runs = sorted(path.parent for path in given.folder.glob("*/metrics.json"))
    if len(runs) < 2:
        sys.exit(
            f"error: {given.folder}: {len(runs)} runs have scores, which cannot be compared; score "
            "each run by `wsseg test --config RUN/config.yaml --ckpt_path RUN/last.ckpt`"
        )
    dice = np.array([_dice(run) for run in runs])
    scores = [_scores(run) for run in runs]
    agreements = [each["`val/agreement`"] for each in scores]
    agreed = consensus([validation_probabilities(run) for run in runs], agreements)
    for each, score in zip(scores, agreed, strict=True):
        each["consensus of the better half"] = score
    print(f"{len(runs)} runs, Dice {dice.min():.3f} to {dice.max():.3f}\n")
    print("| score | rank correlation with Dice | Dice lost by the run it chooses |")
    print("| --- | ---: | ---: |")
    rows = [(*rank([each.get(name, np.nan) for each in scores], dice), name) for name in scores[0]]
    for correlation, lost, name in sorted(rows, reverse=True):
        print(f"| {name} | {correlation:.2f} | {lost:.3f} |")


def rank(score: Sequence[float], dice: NDArray[np.float64]) -> tuple[float, float]:
    """Compare a score of runs with their Dice.

    Args:
        score: Of each run; NaN if it has none, which is worst.
        dice: Of each run.

    Returns:
        Spearman's rank correlation, and how much less than the best Dice the run of the best score
        has.
    """
    values = np.nan_to_num(np.asarray(score, float), nan=-np.inf)
    return float(spearmanr(values, dice)[0]), float(dice.max() - dice[values.argmax()])


def _dice(run: Path) -> float:
    metrics = json.loads((run / "metrics.json").read_text())
    return float(np.mean([each["dice"]["mean"] for each in metrics.values()]))


def _scores(run: Path) -> dict[str, float]:
    return {**_of_slices(run), **_of_log(run / "logs" / "metrics.csv")}


def _of_log(path: Path) -> dict[str, float]:
    """Return the last values of what a run has logged, so that more is better."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    last = {name: float(row[name]) for row in rows for name in LOGGED if row.get(name)}
    values = {name: last.get(name, np.nan) for name in LOGGED}
    return {
        f"`{name}`, less is better" if name in FALLING else f"`{name}`": (
            -value if name in FALLING else value
        )
        for name, value in values.items()
    }


@torch.no_grad()
def _of_slices(run: Path) -> dict[str, float]:
    """Score the predictions of a run for validation slices, of the first class."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]
    data = MRISliceDataModule(config["root"], config["fold"])
    module = load_module(run / "last.ckpt")
    assert isinstance(module, CamModule)
    state = read_checkpoint(run / "last.ckpt")["callbacks"]
    (own,) = (each for name, each in state.items() if name.startswith("ClusterReSupervision"))
    clusters = Clusters.from_state(own["clusters"], module.cluster_views) if own else None
    (callback,) = _callbacks(run)
    high = (callback.get("scorer") or {}).get("init_args", {}).get("high", 0.2)
    parts: list[tuple[torch.Tensor, ...]] = []
    for batch in slice_loader(SliceDataset(data.store, data.splits["val"]), 32, 0):
        image, valid = batch["image"], batch["valid"]
        prediction = module.predict(image, valid)
        mirrored = module(image.flip(-1), valid.flip(-1)).flip(-1)
        found = prediction.probability > 0.5
        maps = torch.zeros_like(found)
        if clusters is not None:
            maps = clusters.relevance(module.embed_pixels(batch)) > high
        parts.append((found, maps, mirrored > 0.5, prediction.tags, batch["tags"]))
    found, maps, turned, tags, truth = (torch.cat(each) for each in zip(*parts, strict=True))
    tagged = truth[:, 0] > 0.5
    area = found[:, 0].flatten(1).sum(dim=1)
    return {
        "`val/agreement`": _agreement(found, maps),
        "the same in tagged slices only": _agreement(found[tagged], maps[tagged]),
        "agreement with the prediction of the mirrored slice": _agreement(found, turned),
        "tags: area under the ROC curve": _ranking(tagged, tags[:, 0]),
        "tags by the predicted area: the same": _ranking(tagged, area),
        "share of the predicted area in tagged slices": float(area[tagged].sum() / area.sum()),
        "share of slices with a tag and a mask, or neither": float(
            ((area > 0) == tagged).float().mean()
        ),
    }


def _callbacks(run: Path) -> list[dict[str, Any]]:
    """Return the options of each callback ClusterReSupervision of a run."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return [
        each.get("init_args", {})
        for each in config["trainer"]["callbacks"]
        if each["class_path"].endswith("ClusterReSupervision")
    ]


def _ranking(tagged: torch.Tensor, score: torch.Tensor) -> float:
    """Return the area under the ROC curve, 1 if all tagged slices have the highest scores."""
    share = score.double() / score.max().clamp_min(1e-9)  # above 1 it would be taken for a logit
    return float(binary_auroc(share, tagged.long()))


def _agreement(first: torch.Tensor, second: torch.Tensor) -> float:
    counts = overlaps(first, second)
    return agreement(torch.cat((torch.arange(len(counts))[:, None], counts), dim=1))


if __name__ == "__main__":
    main()
