"""Does the quality of cluster maps hold over many refreshes? Trains, and scores every refresh.

    python experiments/stability/measure.py STORE OUTPUT

For each seed: 15 refreshes, one every second epoch from the third on. After each refresh, and only
to write it down, the maps of the training slices are compared with their masks: Dice at the
targets' threshold. Writes ``stability.csv`` and ``stability.png``; prints a line per seed.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from wsseg.clustering import ClusterReSupervision
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import MaskedSliceDataset
from wsseg.evaluation.metrics import dice
from wsseg.models import CamModule
from wsseg.models.seeding import StepSeeding
from wsseg.utils.system import native_precision

REFRESHES, EVERY, WARMUP = 15, 2, 2


class MapScores(pl.Callback):
    """Scores the maps of each refresh against masks that no training code can reach."""

    def __init__(self, clustering: ClusterReSupervision) -> None:
        """Watch one callback."""
        super().__init__()
        self.clustering = clustering
        self.scores: list[float] = []
        self._seen = -1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Score what the epoch begins with, if it is new."""
        maps = self.clustering.maps.file
        if maps is None or maps.version == self._seen:
            return
        self._seen = maps.version
        data: MRISliceDataModule = trainer.datamodule  # type: ignore[attr-defined]
        scores = []
        for case in data.splits["train"]:
            slices = MaskedSliceDataset(data.store, [case])
            batch = slices.__getitems__(range(len(slices)))
            relevance = maps.lookup(batch["index"])
            found = relevance > self.clustering.scorer.high
            truth = batch["mask"].bool()
            if truth.any():
                scores.append(dice(found.numpy(), truth.numpy()))
        self.scores.append(float(np.mean(scores)))
        print(f"refresh {len(self.scores)}: Dice of the maps {self.scores[-1]:.3f}", flush=True)


def run(store: str, fold: int, seed: int, output: Path) -> list[float]:
    """Train once; return the mean Dice after each refresh."""
    pl.seed_everything(seed, verbose=False)
    data = MRISliceDataModule(store, fold=fold, batch_size=16)
    clustering = ClusterReSupervision(warmup_epochs=WARMUP, every_n_epochs=EVERY)
    watcher = MapScores(clustering)
    trainer = pl.Trainer(
        default_root_dir=output / f"seed{seed}",
        max_epochs=WARMUP + EVERY * REFRESHES,
        precision=native_precision(),  # type: ignore[arg-type]
        callbacks=[clustering, watcher, StepSeeding()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(CamModule(data.spec.to_dict()), data)
    return watcher.scores


def draw(scores: dict[int, list[float]], path: Path) -> None:
    """One line per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for seed, values in scores.items():
        axes.plot(np.arange(len(values)) + 1, values, marker=".", label=f"seed {seed}")
    axes.set(xlabel="refresh", ylabel="Dice of the cluster maps (training slices)", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("output", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    scores: dict[int, list[float]] = {}
    for seed in options.seeds:
        values = scores[seed] = run(options.store, options.fold, seed, options.output)
        print(f"seed {seed}: best {max(values):.3f}, last {values[-1]:.3f}", flush=True)
    with (options.output / "stability.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "refresh", "dice"])
        for seed, values in scores.items():
            writer.writerows([seed, k + 1, f"{value:.4f}"] for k, value in enumerate(values))
    draw(scores, options.output / "stability.png")


if __name__ == "__main__":
    main()
