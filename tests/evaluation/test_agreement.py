"""The score that needs no mask, within a real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.clustering import ClusteringOptions, ClusterReSupervision, PixelEmbeddings
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation import MapAgreement
from wsseg.evaluation.agreement import AGREEMENT
from wsseg.evaluation.metrics import dice


class Bright(pl.LightningModule):
    """Predicts what is brighter than a level; clusters are formed by brightness."""

    threshold = 0.5

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(4 * (image[:, :1] - self.level))

    def embed_pixels(self, batch: Any) -> PixelEmbeddings:
        names = ("valid", "tags", "index")
        image = batch["image"]
        return PixelEmbeddings(image, self(image), *(batch[name] for name in names))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"probability": self(batch["image"])}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store")


class Asked(Bright):
    """Notes what it is asked for when it is not trained."""

    def __init__(self) -> None:
        super().__init__(level=1.5)
        self.asked: list[tuple[bool, bool]] = []

    def embed_pixels(
        self, batch: Any, activation: bool = True, features: bool = True
    ) -> PixelEmbeddings:
        if "mask" in batch:  # as validation batches have
            self.asked.append((activation, features))
        return super().embed_pixels(batch)


def train(
    store: Path, folder: Path, level: float, module: Bright | None = None, **options: Any
) -> pl.Trainer:
    clustering = ClusterReSupervision(
        clustering=ClusteringOptions(n_clusters=8, n_clusterings=2, smoothing=0.0), **options
    )
    trainer = quiet_trainer(
        max_epochs=2, default_root_dir=folder, callbacks=[clustering, MapAgreement()]
    )
    trainer.fit(module or Bright(level), MRISliceDataModule(str(store), eval_batch_size=5))
    return trainer


def test_a_better_prediction_has_a_higher_score(store: Path, tmp_path: Path) -> None:
    scores = [
        float(train(store, tmp_path, level).logged_metrics[AGREEMENT]) for level in (1.5, 0.3)
    ]
    assert 1 >= scores[0] > scores[1] + 0.1


def test_the_score_is_the_dice_of_predictions_and_maps(store: Path, tmp_path: Path) -> None:
    trainer = train(store, tmp_path, level=1.5)
    clusters = trainer.callbacks[0].clusters  # type: ignore[attr-defined]
    module, found, mapped = trainer.lightning_module, [], []
    for batch in trainer.datamodule.val_dataloader():  # type: ignore[attr-defined]
        found.append(module(batch["image"]) > 0.5)
        mapped.append(clusters.relevance(module.embed_pixels(batch)) > 0.2)
        assert not mapped[-1][batch["tags"][:, 0] == 0].any(), "no false alarm is forgiven"
    expected = dice(torch.cat(found).numpy(), torch.cat(mapped).numpy())
    assert float(trainer.logged_metrics[AGREEMENT]) == pytest.approx(expected, abs=1e-6)


def test_no_activation_is_computed_where_clusters_need_none(store: Path, tmp_path: Path) -> None:
    module = Asked()
    train(store, tmp_path, level=1.5, module=module)
    assert set(module.asked) == {(False, True)}


def test_it_is_zero_before_the_first_clusters(store: Path, tmp_path: Path) -> None:
    trainer = train(store, tmp_path, level=1.5, warmup_epochs=2)
    assert float(trainer.logged_metrics[AGREEMENT]) == 0


def test_nothing_is_logged_without_clusters(store: Path, tmp_path: Path) -> None:
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path, callbacks=[MapAgreement()])
    trainer.fit(Bright(1.5), MRISliceDataModule(str(store)))
    assert AGREEMENT not in trainer.logged_metrics
