"""Telling slices of held-out cases, and what a checkpoint makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.clustering.kmeans import assign
from wsseg.clustering.mapping import MapMaker
from wsseg.clustering.relevance import Verdict
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.dataset import ArrayFolder
from wsseg.data.masked import has_mask
from wsseg.data.spec import Batch, DataSpec
from wsseg.prediction.checkpoint import load_module


@dataclass(frozen=True)
class HeldOutSlices:
    """Slices to draw: labels, image [S, M, H, W], valid [S, H, W], truth of one class [S, H, W]."""

    labels: list[str]
    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    truth: NDArray[np.bool_]


@dataclass(frozen=True)
class MethodView:
    """What a method makes of the slices, for the first class.

    Attributes:
        probability: [S, H, W].
        threshold: Above it a pixel is predicted.
        relevance: Cluster map [S, h, w] in [0, 1], -1 where unknown; None without clusters.
        heading: What the probability is.
    """

    probability: NDArray[np.float32]
    threshold: float
    relevance: NDArray[np.float32] | None
    heading: str = "CAM"


def telling_slices(store: Path, fold: int, count: int) -> tuple[DataSpec, HeldOutSlices | None]:
    """Choose the slice with most of the first class in each of some test cases.

    Args:
        store: The slice store.
        fold: Which of its splits.
        count: How many cases; the first ones that have any of the class.

    Returns:
        The store's specification and the slices; None if no test case has a mask with the class.
    """
    data = MRISliceDataModule(str(store), fold)
    folders = [ArrayFolder(store / name) for name in ("images", "valid", "masks")]
    labels: list[str] = []
    parts = []
    for case in data.splits["test"]:
        if len(labels) == count or not has_mask(store, case):
            continue
        truth = folders[2][case.id][:, 0]
        row = int(truth.sum(axis=(1, 2)).argmax())
        if truth[row].any():
            labels.append(f"{case.id}\nslice {row}")
            parts.append((folders[0][case.id][row], folders[1][case.id][row], truth[row]))
    if not parts:
        return data.spec, None
    image, valid, truth = (np.stack(each) for each in zip(*parts, strict=True))
    return data.spec, HeldOutSlices(labels, image.astype(np.float32), valid, truth)


def view_method(checkpoint: Path, slices: HeldOutSlices) -> MethodView:
    """Run a checkpoint on slices.

    Args:
        checkpoint: Of a trained method.
        slices: The slices.
    """
    module = load_module(checkpoint)
    image, valid = torch.from_numpy(slices.image), torch.from_numpy(slices.valid)
    probability = module(image, valid)[:, 0].detach().float().numpy()
    embeds = callable(getattr(module, "embed_pixels", None))
    clusters = _clusters(checkpoint) if embeds else None
    relevance = None if clusters is None else _relevance(module, clusters, image, valid)
    threshold = float(getattr(module, "threshold", 0.5))
    return MethodView(probability, threshold, relevance, "CAM" if embeds else "probability")


def _clusters(checkpoint: Path) -> dict[str, Any] | None:
    """Return the state of the clustering callback, if the checkpoint has one."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    states = content.get("callbacks", {}).values()
    return next((s for s in states if isinstance(s, dict) and "centroids" in s), None)


def _relevance(
    module: Any, clusters: dict[str, Any], image: Tensor, valid: Tensor
) -> NDArray[np.float32]:
    """Map held-out slices by the clusters of the training slices, as if they were tagged."""
    count = len(image)
    tags = torch.ones(count, clusters["scores"].shape[2])
    number = torch.arange(count)
    batch = Batch(image=image, tags=tags, valid=valid, index=number, case=number, level=number)
    embedded = module.embed_pixels(batch, activation=False)

    def nearest(features: Tensor) -> Tensor:
        return assign((features - clusters["mean"]) / clusters["std"], clusters["centroids"])

    verdict = Verdict(*(clusters[name] for name in Verdict._fields))
    settings = {name: clusters[name] for name in ("smoothing", "low", "dominance")}
    found: NDArray[np.float32] = MapMaker(nearest, verdict, **settings)(embedded)[:, 0].numpy()
    return found
