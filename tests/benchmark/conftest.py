"""A benchmark whose training is a stub that writes what training would leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml

from tests.data.conftest import write_store
from wsseg.benchmark import runs
from wsseg.clustering.clusters import Clusters
from wsseg.comparators import GradCam
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation.baselines import run_baseline
from wsseg.models.cam_module import CamModule
from wsseg.segmentation import SegmentationModule


class Child:
    """Stands in for the processes: notes the calls, fails where told."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.fail: Callable[[list[str]], bool] = lambda _: False

    def __call__(self, arguments: list[str]) -> str | None:
        self.calls.append(list(arguments))
        if self.fail(list(arguments)):
            return "error: out of luck"
        given = dict(part[2:].split("=", 1) for part in arguments[1:])
        if arguments[0] == "fit":
            folder = Path(given["trainer.default_root_dir"])
            folder.mkdir(parents=True, exist_ok=True)
            config = {"store": given["data.root"], "fold": int(given["data.fold"])}
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            write = write_second if "model.targets.checkpoint" in given else write_checkpoint
            write = write_explained if "grad" in given["config"] else write
            write(Path(given["data.root"]), folder / "last.ckpt")
        else:
            config = yaml.safe_load(Path(given["config"]).read_text())
            folder = Path(given["config"]).parent
            store = Path(config["store"])
            run_baseline("zscore_threshold", store, config["fold"], 0, folder)
        return None


def write_checkpoint(store: Path, path: Path) -> None:
    """Write an untrained network with clusters, as `wsseg fit` would."""
    torch.manual_seed(0)
    spec = MRISliceDataModule(str(store)).spec
    module = CamModule(spec.to_dict(), widths=(4, 8, 8), embedding_widths=(4, 8))
    modalities = len(module.spec.modalities)
    columns = 4 + 2 * modalities + modalities  # features, asymmetry and deviation
    clusters = Clusters(
        views=tuple(module.cluster_views),
        learned=(torch.empty(0), torch.zeros(8, modalities, 3, 3)),
        mean=torch.zeros(columns),
        scale=torch.ones(columns),
        centroids=torch.randn(2, 6, columns),
        scores=torch.rand(2, 6, 1),
        votes=torch.rand(2, 6, 1),
        likeness=torch.rand(2, 6, 1),
        smoothing=1.0,
    )
    save(module, path, {"ClusterReSupervision": {"clusters": clusters.state_dict()}})


def write_second(store: Path, path: Path) -> None:
    """Write an untrained second stage, which has neither clusters nor embeddings."""
    spec = MRISliceDataModule(str(store)).spec
    module = SegmentationModule(spec.to_dict(), widths=(4, 8, 8))
    save(module, path, {"PseudoMasks": {"sha256": "0"}})


def write_explained(store: Path, path: Path) -> None:
    """Write an untrained classifier whose maps are made from gradients."""
    module = GradCam(MRISliceDataModule(str(store)).spec.to_dict(), widths=(4, 8, 8))
    save(module, path, {})


def save(module: pl.LightningModule, path: Path, callbacks: dict[str, Any]) -> None:
    """Write a checkpoint."""
    content = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "callbacks": callbacks,
        "pytorch-lightning_version": pl.__version__,
    }
    module.on_save_checkpoint(content)
    torch.save(content, path)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Replaces the processes that `wsseg benchmark` starts."""
    stub = Child()
    monkeypatch.setattr(runs, "run_command", stub)
    monkeypatch.setattr(runs, "refusal", lambda _: None)
    return stub


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A benchmark of one trained method and two baselines, two seeds, on a tiny store."""
    (tmp_path / "crs.yaml").write_text("trainer: {}\n")
    plain = {
        "store": str(write_store(tmp_path / "store")),
        "output": str(tmp_path / "out"),
        "seeds": [0, 1],
        "methods": {
            "crs": {"config": str(tmp_path / "crs.yaml"), "overrides": ["--model.mask_ratio=0.1"]},
            "clustering": {"baseline": "intensity_clustering"},
            "threshold": {"baseline": "zscore_threshold"},
        },
    }
    path = tmp_path / "benchmark.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    return path
