"""Measures of instances against slow versions, and how instances are told from each other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from tests.data.conftest import write_store
from tests.evaluation.test_case_evaluation import Bright
from tests.training import quiet_trainer
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import MaskedSliceDataset
from wsseg.data.store_files import MANIFEST
from wsseg.evaluation.instance_evaluation import InstanceEvaluation
from wsseg.evaluation.instances import Labels, connected, score_instances, split_instances
from wsseg.utils.errors import InputError


def drawn(seed: int, count: int) -> Labels:
    """Draw rectangles over each other, with numbers that are not in a row."""
    rng, labels = np.random.default_rng(seed), np.zeros((12, 15), np.int64)
    for number in range(count):
        y, x, h, w = rng.integers((0, 0, 1, 1), (10, 12, 7, 7))
        labels[y : y + h, x : x + w] = 3 * number + 2
    return labels


def moved(truth: Labels, seed: int, extra: int) -> Labels:
    """Move true instances by up to a pixel, and draw some others over them."""
    rng = np.random.default_rng(seed)
    shifted = np.roll(truth, rng.integers(-1, 2, size=2), axis=(0, 1))
    other = drawn(seed + 1, extra)
    return np.where(other > 0, other + 100, shifted)


def pixels(labels: Labels) -> list[set[int]]:
    return [set(np.flatnonzero(labels == n).tolist()) for n in np.unique(labels) if n]


def brute_force(prediction: Labels, truth: Labels) -> tuple[float, float, float, float]:
    predicted, true = pixels(prediction), pixels(truth)
    if not predicted and not true:
        return 1, 1, 1, 1
    top, bottom, taken, matched = 0, 0, set(), []
    for one in true:
        ious = [len(one & other) / len(one | other) for other in predicted]
        matched += [iou for iou in ious if iou > 0.5]
        if not ious or max(ious) == 0:
            bottom += len(one)
            continue
        best = ious.index(max(ious))
        taken.add(best)
        top, bottom = top + len(one & predicted[best]), bottom + len(one | predicted[best])
    bottom += sum(len(other) for n, other in enumerate(predicted) if n not in taken)
    f1 = 2 * len(matched) / (len(predicted) + len(true))
    sq = sum(matched) / len(matched) if matched else 0.0
    return top / bottom, sq * f1, sq, f1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_measures_are_those_of_sets_of_pixels(
    seed: int, count: int, extra: int, near: bool
) -> None:
    truth = drawn(seed, count)
    prediction = moved(truth, seed, extra) if near else drawn(seed + 7, extra)
    assert score_instances(prediction, truth) == pytest.approx(brute_force(prediction, truth))


def test_only_a_part_of_a_pair_is_a_mistake_of_both() -> None:
    truth = np.array([[1, 1, 2, 2]])
    merged = score_instances(np.array([[1, 1, 1, 1]]), truth)
    assert merged.f1 == 0  # an IoU of exactly 0.5 is no match
    assert merged.aji == 0.5  # the one prediction counts for both, as in the definition


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.9))
def test_instances_fill_the_mask_and_never_cross_the_background(seed: int, share: float) -> None:
    noise = maximum_filter(np.random.default_rng(seed).random((20, 25)), 2)
    mask = noise < share
    found, components = split_instances(mask), connected(mask)
    assert np.array_equal(found > 0, mask)
    pairs = np.unique(np.stack([found[mask], components[mask]]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]  # each instance is within one component


def test_label_images_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="score_instances"):
        score_instances(np.zeros((2, 3), np.int64), np.zeros((3, 2), np.int64))


def test_the_callback_scores_pictures_and_refuses_volumes(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", slices=1, modalities=("FLAIR",))
    callback = InstanceEvaluation()
    trainer = quiet_trainer(default_root_dir=tmp_path / "run", callbacks=[callback])
    with pytest.raises(InputError, match="these are volumes; leave the callback out"):
        trainer.test(Bright(), MRISliceDataModule(str(store)), verbose=False)
    manifest = json.loads((store / MANIFEST).read_text())
    manifest["spec"]["plan"]["normalisation"] = "picture"
    (store / MANIFEST).write_text(json.dumps(manifest))
    data, module = MRISliceDataModule(str(store)), Bright()
    module.spec = data.spec
    trainer.test(module, data, verbose=False)
    table = json.loads((tmp_path / "run" / "instances.json").read_text())["tumour"]
    with (tmp_path / "run" / "instances_per_case.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [case.id for case in data.splits["test"]]
    for row, case in zip(rows, data.splits["test"], strict=True):
        slices = MaskedSliceDataset(data.store, [case]).__getitems__([len(case.tags) - 1])
        probability = module.test_step(slices, 0)["probability"]
        found, truth = (each[0, 0].numpy() for each in (probability > 0.5, slices["mask"]))
        expected = score_instances(split_instances(found), connected(truth.astype(bool)))
        assert [float(row[name]) for name in expected._fields] == pytest.approx(expected, abs=1e-5)
    mean = sum(float(row["aji"]) for row in rows) / len(rows)
    assert table["aji"]["mean"] == pytest.approx(mean, abs=1e-5)
