"""Trains a classifier without and with the callback, and scores both on held-out pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pictures import Pictures
from torch import Tensor
from torch.utils.data import DataLoader

from wsseg.clustering import ClassifierAdapter, ClusteringOptions, ClusterReSupervision


def compare(
    build: Callable[[], pl.LightningModule],
    serve: Callable[[Pictures], Any],
    channels: int,
    classes: int,
    adapter: Callable[[], ClassifierAdapter],
) -> None:
    """Print mean IoU and tag accuracy of both for every seed of the command line.

    Args:
        build: Makes a new module.
        serve: Makes the data set of pictures that the module is trained on.
        channels: Channels of the pictures.
        classes: Number of classes.
        adapter: Makes the adapter for the callback.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--pictures", type=int, default=192, help="number of training pictures")
    options = parser.parse_args()
    print("seed  plain CAM: IoU, accuracy  with the callback: IoU, accuracy")
    for seed in options.seeds:
        slices = serve(Pictures(options.pictures, channels, classes, seed))
        held_out = Pictures(400, channels, classes, 1000 + seed)
        figures: list[float] = []
        callbacks: list[list[pl.Callback]] = [[], [_callback(adapter())]]
        for own in callbacks:
            pl.seed_everything(seed, verbose=False)
            module = build()
            trainer = pl.Trainer(
                max_epochs=options.epochs,
                callbacks=own,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, DataLoader[Any](slices, batch_size=16, shuffle=True))
            figures += score(module, adapter(), held_out)
        print(seed, *(f"{figure:.3f}" for figure in figures), flush=True)


def score(
    module: pl.LightningModule, adapter: ClassifierAdapter, held_out: Pictures
) -> tuple[float, float]:
    """Return the mean IoU of the CAM over tagged pictures, and the accuracy of the tags."""
    tagged = held_out.tags > 0.5
    found = adapter.cam(module, held_out.images)[tagged] > 0.5
    truth = held_out.masks[tagged]
    iou = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
    with torch.no_grad():
        logits = module.eval()(held_out.images)
    return float(iou.mean()), float((tags_of(logits, tagged.shape[1]) == tagged).float().mean())


def tags_of(logits: Tensor, classes: int) -> Tensor:
    """Return which classes a module says are there, [B, C] bool."""
    return logits > 0 if logits.shape[1] == classes else logits.argmax(1, keepdim=True) > 0


def _callback(adapter: ClassifierAdapter) -> ClusterReSupervision:
    options = ClusteringOptions(n_clusters=16)
    return ClusterReSupervision(3, 2, options, adapter=adapter)
