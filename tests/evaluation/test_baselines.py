"""The training-free baselines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.data.conftest import write_store
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation import baselines
from wsseg.evaluation.baselines import (
    BASELINES,
    intensity_clustering,
    purity,
    run_baseline,
    smooth,
)
from wsseg.evaluation.floors import best_guesses
from wsseg.utils.errors import InputError
from wsseg.utils.otsu import otsu


@pytest.mark.parametrize("name", BASELINES)
def test_finds_bright_squares_without_masks_in_training(tmp_path: Path, name: str) -> None:
    store = write_store(tmp_path / "store")
    for case in "abcde" if "by_masks" not in name else "":
        (store / "masks" / f"{case}.npy").unlink()
    path = run_baseline(name, store, 0, 0, tmp_path / "run")
    got = json.loads(path.read_text())["tumour"]
    assert got["cases"] == 2
    # Half of all noise is brighter than Otsu's threshold.
    least = {"intensity_clustering": 0.6, "zscore": 0.3, "otsu": 0.1, "blob": 0.1}
    assert got["dice"]["mean"] > least.get(name, least.get(name.split("_")[0], 0))


def test_masks_choose_once_for_all_folds_and_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Mock(wraps=best_guesses)
    monkeypatch.setattr(baselines, "best_guesses", choose)
    store = write_store(tmp_path / "store")
    for seed in range(2):
        run_baseline("otsu_threshold_by_masks", store, 0, seed, tmp_path / f"run{seed}")
    assert choose.call_count == 1
    shutil.rmtree(store)
    write_store(store)
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"another": True}))
    run_baseline("otsu_threshold_by_masks", store, 0, 0, tmp_path / "another")
    assert choose.call_count == 2


def test_clustering_learns_from_training_cases_alone(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    data = MRISliceDataModule(str(store))
    for case in "efg":
        (store / "images" / f"{case}.npy").unlink()
    intensity_clustering(data, 0)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_no_anatomy_is_in_no_cluster(tmp_path: Path, seed: int) -> None:
    """Not in the first one either, which is the bright one with some of the seeds."""
    store = write_store(tmp_path / "store")
    image, valid = (np.load(store / name / "f.npy") for name in ("images", "valid"))
    predict = intensity_clustering(MRISliceDataModule(str(store)), seed, clusters=3)
    found = predict(image.astype(np.float32), valid)
    assert found[1::2, 0, 10:14, 10:14].all()
    assert not found[::2].any()


def test_clustering_repeats_itself(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    runs = [
        run_baseline("intensity_clustering", store, 0, 1, tmp_path / name).read_bytes()
        for name in ("one", "two")
    ]
    assert runs[0] == runs[1]


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with pytest.raises(InputError, match="no 'magic'"):
        run_baseline("magic", store, 0, 0, tmp_path / "run")
    shutil.rmtree(store / "masks")
    with pytest.raises(InputError, match="no test case of fold 0 has a mask"):
        run_baseline("zscore_threshold", store, 0, 0, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_purity_compares_shares() -> None:
    tagged, untagged = np.array([90.0, 10, 0, 0]), np.array([900.0, 0, 100, 0])
    np.testing.assert_allclose(purity(tagged, untagged), [0.5, 1, 0, 0])


def test_smoothing_keeps_constants_up_to_the_edge() -> None:
    valid = np.zeros((1, 9, 9), bool)
    valid[:, 2:7, 3:8] = True
    image = np.full((1, 2, 9, 9), 3.0, np.float32)
    expected = np.where(valid[:, None], image, 0)
    np.testing.assert_allclose(smooth(image, valid), expected, rtol=1e-5)


@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-4, 4, width=16)))
def test_otsu_separates_at_least_as_well_as_any_other_threshold(values: np.ndarray) -> None:
    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        if not len(low) or not len(high):
            return 0.0
        return len(low) * len(high) * float(high.mean() - low.mean()) ** 2

    width = float(np.ptp(values)) / 4096  # bins move a value by at most half of their width
    best = max(between(value) for value in values)
    assert between(otsu(values, bins=4096)) >= best - 4 * len(values) ** 2 * width * np.ptp(values)


def test_otsu_splits_two_heaps_between_them() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(-2, 0.3, 900), rng.normal(3, 0.3, 100)
    assert low.max() <= otsu(np.concatenate([low, high]).astype(np.float32)) < high.min()
