"""Cluster maps of a few slices, kept over refreshes and resumed runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg import CamModule, ClusterReSupervision, MRISliceDataModule
from wsseg.clustering import ClusteringOptions
from wsseg.tracking.map_history import MapHistory, kept_maps


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", size=16)


def fit(store: Path, epochs: int, warmup: int = 1, resume: Path | None = None) -> MapHistory:
    """Train, save the last checkpoint beside the store, and return the callback."""
    data = MRISliceDataModule(str(store))
    module = CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    options = ClusteringOptions(n_clusters=4, n_clusterings=2)
    history = MapHistory(n_slices=3)
    callbacks = [ClusterReSupervision(warmup, clustering=options), history]
    trainer = quiet_trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        limit_val_batches=0,
        default_root_dir=store.parent,
    )
    trainer.fit(module, data, ckpt_path=resume)
    trainer.save_checkpoint(store.parent / "last.ckpt")
    return history


@pytest.mark.parametrize(("warmup", "epochs"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (9, [])])
@pytest.mark.filterwarnings("ignore:max_epochs 3, warmup_epochs 9")
def test_maps_of_each_refresh_are_kept(store: Path, warmup: int, epochs: list[int]) -> None:
    index, kept = kept_maps(fit(store, 3, warmup).state_dict())
    assert len(index) == len(set(index)) == 3
    assert [one.epoch for one in kept] == epochs
    for one in kept:
        assert one.targets.shape == (3, 1, 16, 16)
        assert set(np.unique(one.targets)) <= {-1, 0, 1}


def test_they_are_those_that_were_trained_with(store: Path) -> None:
    index, kept = kept_maps(fit(store, 3).state_dict())
    content = torch.load(store.parent / "last.ckpt", weights_only=True)
    callback = ClusterReSupervision()
    callback.load_state_dict(content["callbacks"]["ClusterReSupervision"])
    last = callback.lookup(torch.tensor(index))
    assert last is not None
    np.testing.assert_array_equal(last.numpy(), kept[-1].targets)


def test_a_resumed_run_goes_on_with_the_same_slices(store: Path) -> None:
    first, _ = kept_maps(fit(store, 2).state_dict())
    resumed = fit(store, 4, resume=store.parent / "last.ckpt")
    index, kept = kept_maps(resumed.state_dict())
    assert index == first
    assert [one.epoch for one in kept] == [2, 3, 4]


def test_a_run_without_the_callback_has_none() -> None:
    assert kept_maps({}) == ([], [])
