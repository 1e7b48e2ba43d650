"""The callback within a real trainer."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.masked import MaskedSliceDataset
from wsseg.data.readers import COLOURS
from wsseg.data.store_files import MANIFEST
from wsseg.evaluation.callback import CaseEvaluation
from wsseg.evaluation.metrics import METRICS, dice
from wsseg.evaluation.results import read_cases
from wsseg.models import Finishing
from wsseg.prediction.finishing import finish
from wsseg.utils.errors import InputError


class Bright(pl.LightningModule):
    """Predicts the tumour where the first modality is bright."""

    threshold = 0.5
    finishing = Finishing(refinement=0.0, smallest_component=0.0)

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
        return {"probability": torch.sigmoid(4 * (batch["image"][:, :1] - 1.5))}

    validation_step = test_step


def trainer(folder: Path) -> pl.Trainer:
    return quiet_trainer(default_root_dir=folder, callbacks=[CaseEvaluation()])


def test_test_writes_both_files(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    data = MRISliceDataModule(str(store), eval_batch_size=5)
    run = trainer(tmp_path / "run")
    logged = run.test(Bright(), data, verbose=False)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["tumour"]
    with (tmp_path / "run" / "per_case.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["f", "g"]
    assert metrics["cases"] == 2
    assert metrics["dice"]["mean"] == pytest.approx(sum(float(r["dice"]) for r in rows) / 2, 1e-4)
    assert set(metrics) == {*METRICS, "cases", "drawn", "not_drawn"}
    assert logged[0]["test/dice_tumour"] == pytest.approx(metrics["dice"]["mean"])
    assert [row["drawn"] for row in rows] == ["1", "1"]
    assert all(0.5 < float(row["confidence"]) <= 1 for row in rows)
    low, high = metrics["dice"]["ci95"]
    assert 0.3 < low <= metrics["dice"]["median"] <= high < 1


@pytest.mark.parametrize("limit", [{"fast_dev_run": True}, {"limit_test_batches": 0.5}])
def test_a_part_of_the_slices_replaces_no_results(tmp_path: Path, limit: dict[str, Any]) -> None:
    data = MRISliceDataModule(str(write_store(tmp_path / "store")), eval_batch_size=5)
    run = tmp_path / "run"
    trainer(run).test(Bright(), data, verbose=False)
    scores = (run / "metrics.json").read_bytes()
    part = quiet_trainer(default_root_dir=run, callbacks=[CaseEvaluation()], **limit)
    with pytest.warns(UserWarning, match="not all test slices were run"):
        part.test(Bright(), data, verbose=False)
    assert (run / "metrics.json").read_bytes() == scores


def test_loaders_without_a_store_are_refused(tmp_path: Path) -> None:
    data = MRISliceDataModule(str(write_store(tmp_path / "store")))
    data.setup("test")
    with pytest.raises(InputError, match="slice store is needed, got NoneType; give the trainer"):
        trainer(tmp_path).test(Bright(), data.test_dataloader(), verbose=False)


@pytest.mark.parametrize("kind", ["scans", "pictures"])
def test_test_scores_what_predict_writes(tmp_path: Path, kind: str) -> None:
    store = write_store(tmp_path / "store")
    if kind == "pictures":
        manifest = json.loads((store / MANIFEST).read_text())
        manifest["spec"]["plan"]["normalisation"] = "picture"
        (store / MANIFEST).write_text(json.dumps(manifest))
    data = MRISliceDataModule(str(store), eval_batch_size=5)
    module = Bright()
    module.spec, module.finishing = data.spec, Finishing()
    if kind == "pictures":
        module.spec = replace(data.spec, modalities=COLOURS)
    trainer(tmp_path / "run").test(module, data, verbose=False)
    rows = read_cases(tmp_path / "run")
    assert rows
    for case, row in zip(data.splits["test"], rows, strict=True):
        slices = MaskedSliceDataset(data.store, [case]).__getitems__(range(len(case.tags)))
        probability = module.test_step(slices, 0)["probability"]
        found = finish(module, probability, slices["image"], slices["valid"]) > 0.5
        plain = probability > 0.5
        truth = slices["mask"].numpy()
        assert not torch.equal(found, plain)
        assert float(row["dice"]) == pytest.approx(dice(found.numpy(), truth), abs=1e-5)
    (measured,) = json.loads((tmp_path / "run" / "metrics.json").read_text()).values()
    assert ("pxap" in measured) == (kind == "pictures")


def test_validation_only_logs(tmp_path: Path) -> None:
    data = MRISliceDataModule(str(write_store(tmp_path / "store")))
    logged = trainer(tmp_path / "run").validate(Bright(), data, verbose=False)
    assert 0.3 < logged[0]["val/dice_tumour"] < 1
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_without_masks(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    shutil.rmtree(store / "masks")
    data = MRISliceDataModule(str(store))
    assert trainer(tmp_path / "run").validate(Bright(), data, verbose=False) == [{}]
    with pytest.raises(InputError, match="masks: no test case of fold 0 has a mask"):
        trainer(tmp_path / "run").test(Bright(), data, verbose=False)


def test_the_headline_is_of_cases_that_have_the_class(tmp_path: Path) -> None:
    """A model that predicts nothing is not praised for the case without the class."""
    store = write_store(tmp_path / "store")
    mask = store / "masks" / "g.npy"
    np.save(mask, np.zeros_like(np.load(mask)))
    module, run = Bright(), tmp_path / "run"
    module.threshold = 1.0
    data = MRISliceDataModule(str(store))
    warned = "nothing was predicted in the one case that has it; a mean Dice of 0.50 comes only"
    with pytest.warns(UserWarning, match=warned):
        logged = trainer(run).test(module, data, verbose=False)
    assert logged[0]["test/dice_tumour"] == 0
    metrics = json.loads((run / "metrics.json").read_text())["tumour"]
    assert metrics["dice"]["mean"] == 0.5
    assert metrics["drawn"] == {"cases": 1, "dice": 0}
    assert metrics["not_drawn"] == {"cases": 1, "nothing_predicted": 1}
