"""Baselines that train no network.

A method that is worth its training must beat them on the same split. They see tags only, but for
those whose names end in ``by_masks``. None but the clustering can say that an image shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.clustering.kmeans import assign, fit_kmeans
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import cases_with_masks, masks_of
from wsseg.data.store import CaseSlices
from wsseg.data.store_files import MANIFEST
from wsseg.evaluation.case_metric import CaseRow, CaseSegmentationMetric
from wsseg.evaluation.floors import (
    FLOORS,
    Images,
    Mask,
    best_guesses,
    case_images,
    guess_names,
)
from wsseg.evaluation.results import write_results
from wsseg.utils.errors import InputError
from wsseg.utils.smoothing import blur

Predictor = Callable[[Images, Mask], Mask]
"""From image [S, M, H, W] and valid [S, H, W] to masks [S, C, H, W]."""

# Of intensity_clustering: the values of a first trial, which scored 0.78 on an easy phantom. Others
# were not measured, except of the blur.
INTENSITY_CLUSTERS = 64
LEAST_PURITY = 0.9  # clusters that occur so much more in tagged slices are the class
BLUR_PIXELS = 2.0  # the stronger of 1 and 2, on real patients and on phantoms
CLUSTERED_PIXELS = 200_000  # a sample that k-means sees, for speed; others were not measured
SMALLEST_COMPONENT = 0.1  # share of the largest component, as for every network


def run_baseline(name: str, store: Path, fold: int, seed: int, out: Path) -> Path:
    """Fit a baseline to the tags of the training split and score it on the test split.

    Args:
        name: A key of ``BASELINES``.
        store: The slice store.
        fold: Which of its splits.
        seed: Of the baseline, if it has any randomness.
        out: Folder for ``metrics.json`` and ``per_case.csv``.

    Returns:
        The path of ``metrics.json``.

    Raises:
        InputError: There is no such baseline, or no mask to score with.

    Example:
        >>> store = Path(getfixture("tiny_store"))
        >>> run_baseline("zscore_threshold", store, fold=0, seed=0, out=store.parent / "run").name
        'metrics.json'
    """
    if name not in BASELINES:
        raise InputError(f"baseline: there is no {name!r}; choose one of {', '.join(BASELINES)}")
    data = MRISliceDataModule(str(store), fold)
    rows = _score(data, BASELINES[name](data, seed))
    return write_results(rows, out, data.spec.plan.unit)


def intensity_clustering(
    data: MRISliceDataModule, seed: int, clusters: int = INTENSITY_CLUSTERS
) -> Predictor:
    """Cluster smoothed intensities and keep the clusters that hardly occur in untagged slices.

    Args:
        data: The data; only its training images and tags are read.
        seed: Of the sample and of k-means.
        clusters: Number of clusters.
    """
    cases = data.splits["train"]
    centroids = fit_kmeans(_sample(data, cases, seed), clusters, seed)
    counts = np.zeros((2, len(data.spec.classes), clusters))
    for case, image, valid in case_images(data, cases):
        labels = _labels(image, valid, centroids)
        for row, tags in enumerate(case.tags.numpy()):
            histogram = np.bincount(labels[row][valid[row]], minlength=clusters)
            counts[0, tags <= 0.5] += histogram  # unknown tags count in neither
            counts[1, tags > 0.5] += histogram
    relevant = purity(counts[1], counts[0]) > LEAST_PURITY

    def predict(image: Images, valid: Mask) -> Mask:
        found = relevant[:, _labels(image, valid, centroids)]
        return np.asarray(np.moveaxis(found, 0, 1) & valid[:, None], bool)

    return predict


def everything(data: MRISliceDataModule, _seed: int) -> Predictor:
    """Take all that is valid.

    Args:
        data: The data; nothing of it is read.
        _seed: Not used; nothing here is random.
    """
    classes = len(data.spec.classes)
    return lambda _, valid: np.repeat(valid[:, None], classes, axis=1)


def bright_part(floor: str, data: MRISliceDataModule, _seed: int) -> Predictor:
    """Take what is bright in FLAIR, or in the last modality if there is no FLAIR.

    Args:
        floor: A key of ``FLOORS``.
        data: The data; nothing of it is read.
        _seed: Not used; nothing here is random.
    """
    flair = data.spec.flair
    bright = len(data.spec.modalities) - 1 if flair is None else flair
    return _predictor(floor, [bright] * len(data.spec.classes))


def best_part(floor: str, data: MRISliceDataModule, _seed: int) -> Predictor:
    """Take what is bright or dark in the channel and on the side that score best.

    This baseline alone uses masks, even those that it is scored with: it is no method, but bounds
    what intensity can tell in this way.

    Args:
        floor: A key of ``FLOORS``.
        data: The data; all its masks are read.
        _seed: Not used; nothing here is random.
    """
    chosen = _best_of(floor, data.store.root, (data.store.root / MANIFEST).read_text())
    names = guess_names(floor, data.spec.modalities)
    for name, number in zip(data.spec.classes, chosen, strict=True):
        print(f"{floor}: the best for `{name}` is {names[number]}")
    return _predictor(floor, chosen)


BASELINES: dict[str, Callable[[MRISliceDataModule, int], Predictor]] = {
    "intensity_clustering": intensity_clustering,
    "everything": everything,
    "zscore_threshold": partial(bright_part, "zscore_threshold"),
    "otsu_threshold": partial(bright_part, "otsu_threshold"),
    **{f"{floor}_by_masks": partial(best_part, floor) for floor in FLOORS},
}


def purity(tagged: NDArray[np.float64], untagged: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how strictly clusters keep to tagged slices.

    Args:
        tagged: Pixels of each cluster in tagged slices, [..., K].
        untagged: The same in untagged slices.

    Returns:
        p / (p + n) in [0, 1], where p and n are a cluster's shares of the tagged and of the
        untagged pixels; 0 for empty clusters.

    Example:
        >>> purity(np.array([30.0, 10.0]), np.array([30.0, 0.0])).round(2).tolist()
        [0.43, 1.0]
    """
    p, n = (c / np.maximum(c.sum(axis=-1, keepdims=True), 1) for c in (tagged, untagged))
    return np.asarray(p / np.where(p + n > 0, p + n, 1))


def smooth(image: Images, valid: Mask) -> Images:
    """Blur slices by a Gaussian of two pixels, without blurring in what is not anatomy.

    Args:
        image: [S, M, H, W].
        valid: [S, H, W].

    Returns:
        [S, M, H, W], 0 outside anatomy.
    """
    known = torch.from_numpy(valid)[:, None]
    return np.asarray(blur(torch.from_numpy(image), known, BLUR_PIXELS).numpy(), np.float32)


@cache
def _best_of(floor: str, store: Path, _manifest: str) -> list[int]:
    """Choose once for all folds and seeds of a benchmark: all masks are read whatever the fold.

    The manifest tells apart two stores that were written to the same folder.
    """
    return best_guesses(MRISliceDataModule(str(store)), floor, SMALLEST_COMPONENT)


def _predictor(floor: str, chosen: Sequence[int]) -> Predictor:
    """Return what predicts each class by the guess with the given number."""

    def predict(image: Images, valid: Mask) -> Mask:
        guesses = enumerate(FLOORS[floor](image, valid))
        found = {number: guess > 0 for number, guess in guesses if number in chosen}
        return np.stack([found[number] for number in chosen], axis=1)

    return predict


def _labels(image: Images, valid: Mask, centroids: torch.Tensor) -> NDArray[np.int64]:
    """Return the cluster of every pixel, [S, H, W]; 0 outside anatomy."""
    labels = np.zeros(valid.shape, np.int64)
    pixels = np.moveaxis(smooth(image, valid), 1, -1)[valid]
    labels[valid] = assign(torch.from_numpy(pixels), centroids[None])[:, 0].numpy()
    return labels


def _sample(data: MRISliceDataModule, cases: Sequence[CaseSlices], seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    parts = []
    for _, image, valid in case_images(data, cases):
        pixels = np.moveaxis(smooth(image, valid), 1, -1)[valid]
        count = min(len(pixels), max(1, CLUSTERED_PIXELS // len(cases)))
        parts.append(pixels[rng.choice(len(pixels), count, replace=False)])
    return torch.from_numpy(np.concatenate(parts))


def _score(data: MRISliceDataModule, predict: Predictor) -> list[CaseRow]:
    """Predict and score the test cases that have a mask."""
    store, masks = data.store, masks_of(data.store)
    metric = CaseSegmentationMetric(
        store.cases.values(), data.spec.classes, smallest_component=SMALLEST_COMPONENT
    )
    scored = cases_with_masks(store, data.splits["test"], data.fold)
    for case, image, valid in case_images(data, scored):
        index = torch.arange(len(image)) + case.first_index
        prediction = torch.from_numpy(predict(image, valid))
        truth = torch.from_numpy(np.array(masks[case.id]))
        metric.update(prediction, truth, index, torch.full_like(index, case.position))
    rows: list[CaseRow] = metric.compute()
    return rows
