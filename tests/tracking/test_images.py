"""Pictures reach every kind of logger, with no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from wsseg.tracking.images import add_image, write_figure

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_csv_logger_gets_a_file_in_its_log_folder(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    path = add_image(logger, "overlays/val", PICTURE, 12)
    assert path == tmp_path / "figures" / "overlays-val-000012.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), PICTURE)


def test_tensorboard_gets_an_event(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    assert add_image(logger, "overlays/val", PICTURE, 12) is None
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir).Reload().Images("overlays/val")
    assert [(event.step, event.width, event.height) for event in events] == [(12, 20, 12)]


def test_wandb_offline_keeps_picture_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WandbLogger("test", tmp_path, offline=True)
    # Metrics of a later step before a picture of an earlier one: wandb drops what goes backwards.
    logger.log_metrics({"loss": 1.0}, step=50)
    assert add_image(logger, "overlays/val", PICTURE, 12) is None
    logger.experiment.finish()
    files = list(tmp_path.rglob("media/images/**/*.png"))
    assert len(files) == 1
    np.testing.assert_array_equal(np.asarray(Image.open(files[0]))[..., :3], PICTURE)


def test_unknown_logger_gets_a_file(tmp_path: Path) -> None:
    class Unknown:
        experiment: Any = None
        log_dir = None
        save_dir = str(tmp_path)

    path = add_image(Unknown(), "panel", PICTURE)
    assert path == tmp_path / "figures" / "panel.png"
    assert path.is_file()


def test_write_figure_names_the_step(tmp_path: Path) -> None:
    assert write_figure(tmp_path, "a/b", PICTURE, 3).name == "a-b-000003.png"
