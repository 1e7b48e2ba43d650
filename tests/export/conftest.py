"""A small model, exported once, that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.data.conftest import write_brats_case
from tests.training import quiet_trainer
from wsseg.data.spec import DataSpec
from wsseg.export import export
from wsseg.models import CamModule

CLASSES = {"whole": (1, 2, 4), "core": (1, 4)}
SPEC = DataSpec(("T1", "FLAIR"), CLASSES, "axial", None, (48, 48))


def save(module: CamModule, path: Path) -> Path:
    """Write a checkpoint of a module that was not trained."""
    trainer = quiet_trainer()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose network is lively enough for masks to have borders."""
    torch.manual_seed(0)
    module = CamModule(SPEC.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    for network in (module.network, module.teacher.module):
        torch.nn.init.normal_(network.fine_head.weight, generator=torch.Generator().manual_seed(1))
        network.fine_head.bias.data.zero_()
    return save(module, tmp_path_factory.mktemp("run") / "last.ckpt")


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, exported."""
    return export(checkpoint.parent, tmp_path_factory.mktemp("export") / "model")


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two cases in the layout of BraTS."""
    folder = tmp_path_factory.mktemp("images")
    for seed, name in enumerate(("ann", "ben")):
        write_brats_case(folder, name, seed=seed)
    return folder
