"""Folders of real runs: a first stage that was tested, and a script's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg import CamModule, MRISliceDataModule
from wsseg.cli import main

SMALL = [
    "--model.widths=[4,8]",
    "--model.embedding_widths=[4,8]",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=ClusterReSupervision",
    "--trainer.callbacks.clustering.n_clusters=4",
    "--trainer.callbacks.clustering.n_clusterings=2",
    "--trainer.callbacks.warmup_epochs=1",
]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Networks here are small."""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four epochs with two refreshes, and its scores."""
    folder = tmp_path_factory.mktemp("tested")
    store, run = write_store(folder / "store", size=16), folder / "täst <run>"
    fit = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    assert main([*fit, *SMALL, "--trainer.max_epochs=3"]) == 0
    scored = [f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'last.ckpt'}"]
    assert main(["test", *scored]) == 0
    return run


@pytest.fixture(scope="session")
def of_a_script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a run without settings, log, pictures and clusters, and its store."""
    folder = tmp_path_factory.mktemp("script")
    store, run = write_store(folder / "store", size=16, masks=False), folder / "run"
    data = MRISliceDataModule(str(store))
    module = CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    trainer = quiet_trainer(max_epochs=1, default_root_dir=run)
    trainer.fit(module, data)
    trainer.save_checkpoint(run / "last.ckpt")
    return run, store
