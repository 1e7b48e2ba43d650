"""The ceiling learns from masks; nothing else can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.spec import DataSpec
from wsseg.segmentation import SegmentationModule
from wsseg.supervised import TrueMasks
from wsseg.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SPEC = DataSpec(("FLAIR", "T1"), {"tumour": (1,)}, "axial", None, (16, 16))

WEAK = """
import sys, pkgutil, importlib
import wsseg

def everything(package):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name not in ("wsseg.supervised", "wsseg.__main__"):
            module = importlib.import_module(found.name)
            if found.ispkg:
                everything(module)

everything(wsseg)
assert {"wsseg.comparators.reference", "wsseg.cli.train"} <= set(sys.modules)
assert not [name for name in sys.modules if name.startswith("wsseg.supervised")]
"""


class Keep(pl.Callback):
    """Keeps the targets of all batches."""

    def __init__(self, source: TrueMasks) -> None:
        self.source = source
        self.targets: dict[int, torch.Tensor] = {}
        self.others: torch.Tensor | None = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.targets |= dict(zip(batch["index"].tolist(), batch["target"], strict=True))
        self.others = self.source.lookup(torch.tensor([0, 1000]))  # of a test case, and of none


def train(store: Path, folder: Path, source: TrueMasks) -> Keep:
    keep = Keep(source)
    trainer = quiet_trainer(max_epochs=1, default_root_dir=folder, callbacks=[keep])
    module = SegmentationModule(SPEC.to_dict(), targets=source, widths=(4, 8, 8))
    trainer.fit(module, MRISliceDataModule(str(store)))
    return keep


def test_targets_are_the_masks_of_the_store(tmp_path: Path) -> None:
    split = {"train": ["f", "b", "d"], "val": ["e"], "test": ["a", "g"]}  # in no order
    store = write_store(tmp_path / "store", size=16, split=split)
    rng = np.random.default_rng(0)
    for name in "bdf":
        shape = np.load(store / "masks" / f"{name}.npy").shape
        np.save(store / "masks" / f"{name}.npy", rng.random(shape) > 0.5)
    keep = train(store, tmp_path, TrueMasks())
    cases = MRISliceDataModule(str(store)).splits["train"]
    assert len(keep.targets) == sum(len(case.tags) for case in cases)
    for case in cases:
        masks = np.load(store / "masks" / f"{case.id}.npy")
        for row, mask in enumerate(masks):
            target = keep.targets[case.first_index + row]
            assert torch.equal(target, torch.from_numpy(mask).float())
    assert keep.others is not None
    assert (keep.others == -1).all()
    assert not list((tmp_path / "cluster_maps").glob("*")), "masks do not stay in the run's folder"


def test_a_training_case_without_a_mask_is_named(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", size=16)
    (store / "masks" / "c.npy").unlink()
    with pytest.raises(InputError, match="training case c has no mask"):
        train(store, tmp_path, TrueMasks())


def test_no_weakly_supervised_path_imports_this() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WEAK],
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
