"""Held-out cases, and what a checkpoint predicts for the slice of each with most tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.checkpoints.clusters import clusters_of
from wsseg.checkpoints.loading import load_module, read_checkpoint
from wsseg.clustering import Clusters
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.levels import levels
from wsseg.data.masked import masks_of
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.finishing import finish
from wsseg.prediction.inference import predict_slices

SLICES_PER_PASS = 32  # of a forward pass; as `eval_batch_size` of the data module


@dataclass(frozen=True)
class HeldOutCase:
    """A test case, of which the picture shows one slice.

    Attributes:
        label: Names the case and the slice.
        image: [S, M, H, W].
        valid: [S, H, W].
        truth: Of the first class, [S, H, W].
        row: The slice.
    """

    label: str
    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    row: int


@dataclass(frozen=True)
class MethodSlice:
    """What a method predicts for a slice, of the first class.

    Attributes:
        probability: [H, W].
        mask: What counts as predicted, [H, W]: above the threshold, and no speck in the case.
        relevance: Cluster map [h, w] in [0, 1], -1 where unknown; None without clusters.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    relevance: NDArray[np.float32] | None


@dataclass(frozen=True)
class MethodView:
    """What a method predicts for the chosen slices.

    Attributes:
        slices: One per case.
        heading: What the probability is.
    """

    slices: list[MethodSlice]
    heading: str

    @property
    def has_clusters(self) -> bool:
        """Whether there are cluster maps."""
        return any(view.relevance is not None for view in self.slices)


def shown_cases(store: Path, fold: int, count: int) -> tuple[DataSpec, list[HeldOutCase]]:
    """Choose some test cases, each with its slice that has most of the first class.

    Args:
        store: The slice store.
        fold: Which of its splits.
        count: How many; the first ones that have any of the class.

    Returns:
        The store's specification and the cases; none if no test case has a mask with the class.
    """
    data = MRISliceDataModule(str(store), fold)
    masks = masks_of(data.store)
    found: list[HeldOutCase] = []
    for case in data.splits["test"]:
        if len(found) == count or case.id not in masks:
            continue
        truth = masks[case.id][:, 0]
        row = int(truth.sum(axis=(1, 2)).argmax())
        if truth[row].any():
            image = data.store.images[case.id].astype(np.float32)
            label = f"{case.id}\nslice {case.numbers[row]}"
            valid = np.array(data.store.valid[case.id])
            found.append(HeldOutCase(label, image, valid, truth, row))
    return data.spec, found


def view_method(checkpoint: Path, cases: Sequence[HeldOutCase]) -> MethodView:
    """Run a checkpoint on cases.

    Args:
        checkpoint: Of a trained method.
        cases: The cases.
    """
    module = load_module(checkpoint)
    embeds = callable(getattr(module, "embed_pixels", None))
    clusters = clusters_of(read_checkpoint(checkpoint), module) if embeds else None
    views = [_view(module, clusters, case) for case in cases]
    return MethodView(views, "CAM" if embeds else "probability")


def _view(module: SliceModule, clusters: Clusters | None, case: HeldOutCase) -> MethodSlice:
    image, valid = torch.from_numpy(case.image), torch.from_numpy(case.valid)
    probability = predict_slices(module, image, valid, SLICES_PER_PASS)
    masks = (finish(module, probability, image, valid) > module.threshold).numpy()
    relevance = None
    if clusters is not None:
        here = slice(case.row, case.row + 1)
        level = torch.from_numpy(levels(len(image)))[here]
        relevance = _relevance(module, clusters, image[here], valid[here], level)
    return MethodSlice(probability[case.row, 0].numpy(), masks[case.row, 0], relevance)


def _relevance(
    module: Any, clusters: Clusters, image: Tensor, valid: Tensor, level: Tensor
) -> NDArray[np.float32]:
    """Map a held-out slice by the clusters of the training slices, as if it were tagged."""
    tags = torch.ones(1, clusters.scores.shape[2])
    number = torch.zeros(1, dtype=torch.int64)
    batch = Batch(image=image, tags=tags, valid=valid, index=number, case=number, level=level)
    with torch.inference_mode():
        embedded = module.embed_pixels(batch, activation=False)
    found: NDArray[np.float32] = clusters.relevance(embedded)[0, 0].numpy()
    return found
