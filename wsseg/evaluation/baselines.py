"""Baselines that train no network and, like every method here, see tags only.

A method that is worth its training must beat them on the same split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.clustering.kmeans import assign, fit_kmeans
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import cases_with_masks, masks_of
from wsseg.data.store import CaseSlices
from wsseg.evaluation.case_metric import CaseRow, CaseSegmentationMetric
from wsseg.evaluation.results import write_results
from wsseg.utils.errors import InputError
from wsseg.utils.otsu import otsu
from wsseg.utils.smoothing import blur

Images = NDArray[np.float32]
Mask = NDArray[np.bool_]
Predictor = Callable[[Images, Mask], Mask]
"""From image [S, M, H, W] and valid [S, H, W] to masks [S, C, H, W]."""

# Of intensity_clustering: the values of a first trial, which scored 0.78 on an easy phantom. Others
# were not measured, except of the blur.
INTENSITY_CLUSTERS = 64
LEAST_PURITY = 0.9  # clusters that occur so much more in tagged slices are the class
BLUR_PIXELS = 2.0  # the stronger of 1 and 2, on real patients and on phantoms
CLUSTERED_PIXELS = 200_000  # a sample that k-means sees, for speed; others were not measured
# Of zscore_threshold, fixed in advance as no tag says where a threshold should be; others were not
# measured. It scores 0.71 by case on BraTS 2018.
BRIGHT_Z_SCORE = 1.5
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
    return write_results(_score(data, BASELINES[name](data, seed)), out)


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
    for case, image, valid in _slices(data, cases):
        labels = _labels(image, valid, centroids)
        for row, tags in enumerate(case.tags.numpy().astype(int)):
            histogram = np.bincount(labels[row][valid[row]], minlength=clusters)
            counts[tags, np.arange(len(tags))] += histogram
    relevant = purity(counts[1], counts[0]) > LEAST_PURITY

    def predict(image: Images, valid: Mask) -> Mask:
        found = relevant[:, _labels(image, valid, centroids)]
        return np.asarray(np.moveaxis(found, 0, 1) & valid[:, None], bool)

    return predict


def zscore_threshold(data: MRISliceDataModule, _seed: int) -> Predictor:
    """Take all that is bright: FLAIR above 1.5, or the last modality if there is no FLAIR.

    Args:
        data: The data; nothing of it is read.
        _seed: Not used; nothing here is random.
    """
    channel, classes = _bright_channel(data), len(data.spec.classes)

    def predict(image: Images, valid: Mask) -> Mask:
        return np.repeat(((image[:, channel] > BRIGHT_Z_SCORE) & valid)[:, None], classes, axis=1)

    return predict


def otsu_threshold(data: MRISliceDataModule, _seed: int) -> Predictor:
    """Take the brighter part of FLAIR, case by case, or of the last modality if there is none.

    Args:
        data: The data; nothing of it is read.
        _seed: Not used; nothing here is random.
    """
    channel, classes = _bright_channel(data), len(data.spec.classes)

    def predict(image: Images, valid: Mask) -> Mask:
        found = valid & (image[:, channel] > otsu(image[:, channel][valid]))
        return np.repeat(found[:, None], classes, axis=1)

    return predict


BASELINES: dict[str, Callable[[MRISliceDataModule, int], Predictor]] = {
    "intensity_clustering": intensity_clustering,
    "zscore_threshold": zscore_threshold,
    "otsu_threshold": otsu_threshold,
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


def _bright_channel(data: MRISliceDataModule) -> int:
    """Return the channel in which a tumour should be bright: FLAIR, else the last one."""
    flair = data.spec.flair
    return len(data.spec.modalities) - 1 if flair is None else flair


def _labels(image: Images, valid: Mask, centroids: torch.Tensor) -> NDArray[np.int64]:
    """Return the cluster of every pixel, [S, H, W]; 0 outside anatomy."""
    labels = np.zeros(valid.shape, np.int64)
    pixels = np.moveaxis(smooth(image, valid), 1, -1)[valid]
    labels[valid] = assign(torch.from_numpy(pixels), centroids[None])[:, 0].numpy()
    return labels


def _sample(data: MRISliceDataModule, cases: Sequence[CaseSlices], seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    parts = []
    for _, image, valid in _slices(data, cases):
        pixels = np.moveaxis(smooth(image, valid), 1, -1)[valid]
        count = min(len(pixels), max(1, CLUSTERED_PIXELS // len(cases)))
        parts.append(pixels[rng.choice(len(pixels), count, replace=False)])
    return torch.from_numpy(np.concatenate(parts))


def _slices(
    data: MRISliceDataModule, cases: Sequence[CaseSlices]
) -> Iterator[tuple[CaseSlices, Images, Mask]]:
    store = data.store
    for case in cases:
        yield case, np.array(store.images[case.id], np.float32), np.array(store.valid[case.id])


def _score(data: MRISliceDataModule, predict: Predictor) -> list[CaseRow]:
    """Predict and score the test cases that have a mask."""
    store, masks = data.store, masks_of(data.store)
    metric = CaseSegmentationMetric(
        store.cases.values(), data.spec.classes, smallest_component=SMALLEST_COMPONENT
    )
    scored = cases_with_masks(store, data.splits["test"], data.fold)
    for case, image, valid in _slices(data, scored):
        index = torch.arange(len(image)) + case.first_index
        prediction = torch.from_numpy(predict(image, valid))
        truth = torch.from_numpy(np.array(masks[case.id]))
        metric.update(prediction, truth, index, torch.full_like(index, case.position))
    rows: list[CaseRow] = metric.compute()
    return rows
