"""The timings under `experiments/bench` fit the package; their results are not tested."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.preparation import prepare

BENCH = Path(__file__).parents[1] / "experiments" / "bench"


def test_every_section_can_be_imported() -> None:
    """What the package renames must not break them unnoticed."""
    names = sorted(path.stem for path in BENCH.glob("*.py"))
    assert {"run", "steps", "preparing"} <= set(names)
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        cwd=BENCH,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_synthetic_images_are_read_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is written without preparation, so its format must follow that of the package."""
    monkeypatch.syspath_prepend(BENCH)
    synthetic = importlib.import_module("synthetic")
    data = MRISliceDataModule(str(synthetic.write_store(tmp_path / "written", 60, 16)))
    data.setup("fit")
    data.setup("test")
    assert (len(data.train_dataloader().dataset), data.spec.size) == (60, (16, 16))
    assert next(iter(data.test_dataloader()))["mask"].any()
    synthetic.write_case(tmp_path / "volumes" / "case", depth=8)
    synthetic.write_case(tmp_path / "volumes" / "other", depth=8, seed=1)
    prepare("brats", tmp_path / "volumes", tmp_path / "prepared", folds=2)
    assert len(MRISliceDataModule(str(tmp_path / "prepared")).store.cases) == 2
