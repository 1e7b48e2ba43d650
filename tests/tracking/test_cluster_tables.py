"""The table of clusters reaches an offline run of wandb, and can be read back."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg import CamModule, ClusterReSupervision, MRISliceDataModule
from wsseg.clustering import ClusteringOptions
from wsseg.clustering.table import ClusterRow
from wsseg.tracking.cluster_tables import ClusterTables, most_relevant


def test_wandb_gets_a_table_of_each_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb_data"))
    data = MRISliceDataModule(str(write_store(tmp_path / "store", size=16)))
    module = CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    options = ClusteringOptions(n_clusters=4, n_clusterings=2)
    clustering = ClusterReSupervision(clustering=options)
    logger = WandbLogger("test", tmp_path, offline=True)
    trainer = quiet_trainer(
        max_epochs=3,  # with refreshes after the first and the second
        logger=logger,
        limit_val_batches=0,
        callbacks=[clustering, ClusterTables(n_pictures=3)],
        default_root_dir=tmp_path,
    )
    trainer.fit(module, data)
    logger.experiment.finish()
    files = sorted(tmp_path.rglob("media/table/clusters/*.table.json"))
    assert len(files) == 2
    found = json.loads(files[-1].read_text())
    assert found["columns"][:3] == ["clustering", "cluster", "class"]
    assert len(found["data"]) == 2 * 4
    decided = [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]
    assert {row["decision"] for row in decided} <= {"relevant", "irrelevant", "open"}
    assert sum(row["size"] for row in decided) == pytest.approx(2, abs=1e-3)
    assert sum(row["picture"] is not None for row in decided) == 3
    # The table with its pictures is an artifact, which wandb keeps apart until it is uploaded.
    staged = [path.read_bytes() for path in (tmp_path / "wandb_data").rglob("tmp*")]
    sizes = [Image.open(BytesIO(one)).size for one in staged if one.startswith(b"\x89PNG")]
    assert len(sizes) >= 3
    assert set(sizes) == {(112, 112)}


def test_the_most_relevant_of_each_class_come_first() -> None:
    rows = [
        ClusterRow(0, k, name, 0.1, 1, 1.0, 0.5, 0.5, 0.5, 0.5, relevance, "open")
        for name in ("core", "oedema")
        for k, relevance in enumerate((0.1, 0.9, 0.4))
    ]
    chosen = [(row.class_name, row.cluster) for row in most_relevant(rows, 2)]
    assert chosen == [("core", 1), ("core", 2), ("oedema", 1), ("oedema", 2)]
