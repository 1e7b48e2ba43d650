"""An offline run of wandb holds what one looks for afterwards, read back from its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_cli import CLUSTERING, fit
from tests.data.conftest import write_store
from tests.tracking.offline_wandb import read_run
from wsseg.checkpoints.origin import code_version

wandb = pytest.importorskip("wandb")


def test_an_offline_run_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    options = ["--trainer.max_epochs=3", "--trainer.logger=WandbLogger"]
    assert fit(write_store(tmp_path / "store", size=16), run, *options, *CLUSTERING) == 0
    wandb.finish()  # as a process does when it ends; else the next logger goes on with this run
    (folder,) = (run / "wandb").glob("offline-run-*")
    config, logged = read_run(folder)
    assert config["wsseg"] == code_version()
    assert config["trainer"]["max_epochs"] == 3
    assert config["model"]["init_args"]["widths"] == [4, 8]
    assert config["data"]["root"] == str(tmp_path / "store")
    for name in ("train/loss", "lr-AdamW", "val/dice_tumour"):
        assert len(logged[name]) == 3, name
    assert logged["clusters/relevant_area"][-1] > 0
    tables = logged["clusters/table.path"]
    assert len(tables) == 2  # of the refreshes after the first and the second epoch
    table = json.loads((folder / "files" / tables[-1]).read_text())
    assert {"size", "purity", "focus", "relevance", "decision", "picture"} <= {*table["columns"]}
    for split in ("train", "val"):
        first, last = (
            np.asarray(Image.open(folder / "files" / shown).convert("L"))
            for (shown,) in logged[f"overlays/{split}.filenames"]
        )
        assert np.array_equal(first[100:, :270], last[100:, :270])  # below the title: the images
        assert not np.array_equal(first[100:, 600:], last[100:, 600:])  # what the network sees
