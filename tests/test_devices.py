"""What runs on a GPU runs on a pretended one: no tensor is on the wrong side, no step waits.

``devices/device.py`` says how. The two sides compute by the same code, so results must be the same
but for what takes another way on a GPU, such as the assignment of pixels to clusters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

from tests.comparators.conftest import KINDS
from tests.models.test_slice_module import SPEC
from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module, read_checkpoint
from wsseg.comparators.explanations import by_slice_maximum
from wsseg.models import CamModule

REPOSITORY = Path(__file__).resolve().parents[1]
PATHS = ("first_stage", "resumed_in_a_group", "second_stage", *(kind.__name__ for kind in KINDS))

MAY_WAIT = {
    "tracking/overlays.py",  # of the first batches, which it shows
    "utils/map_file.py",  # maps are looked up on the disk
    "clustering/callback.py",
    "segmentation/source.py",
    "comparators/after_accumulation.py",  # maps of all epochs lie in the memory of the CPU
}
CLUSTERS_EVERY_BATCH = {
    "clustering/kmeans.py",
    "comparators/reference_losses.py",
    "comparators/after_unsupervised_constraints.py",
}
# Rounding decides to which cluster a pixel between two belongs, and it does so in every step.
LOOSE = {"AfterUnsupervisedConstraints": 1e-2, "ReferenceCrs": 1e-2}

pytestmark = pytest.mark.xdist_group("devices")  # what is found takes a minute: only once


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What ``devices/paths.py`` says of each path."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot pretend a device")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",  # the same on a machine that has a GPU
    }
    command = [sys.executable, str(REPOSITORY / "tests" / "devices" / "paths.py"), *PATHS]
    done = subprocess.run(
        command, env=environment, timeout=1800, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return {each["path"]: each for each in map(json.loads, lines)}


@pytest.mark.parametrize("path", PATHS)
def test_a_device_changes_nothing(found: dict[str, Any], path: str) -> None:
    """Training, clustering, validation, test and prediction."""
    assert "error" not in found[path], found[path]["error"]
    assert found[path]["operations"] > 1000
    for name in ("weights", "scores", "prediction"):
        assert found[path][name] < LOOSE.get(path, 1e-4), name


@pytest.mark.parametrize("path", PATHS)
def test_steps_do_not_wait_for_the_device(found: dict[str, Any], path: str) -> None:
    may = MAY_WAIT | (CLUSTERS_EVERY_BATCH if path in LOOSE else set())
    assert [each for each in found[path]["waits"] if each.partition(":")[0] not in may] == []


def test_a_checkpoint_of_a_gpu_is_read_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors are saved with the name of their device, here a third GPU."""
    module, trainer = CamModule(SPEC, widths=(4, 8), embedding_widths=(4, 8)), quiet_trainer()
    trainer.strategy.connect(module)
    path = tmp_path / "last.ckpt"
    with monkeypatch.context() as patched:
        patched.setattr("torch.serialization.location_tag", lambda _: "cuda:2")
        trainer.save_checkpoint(path)
    with pytest.raises(RuntimeError, match="CUDA device"):
        torch.load(path, weights_only=True)
    assert isinstance(load_module(path), CamModule)
    assert read_checkpoint(path)["state_dict"]["teacher.n_averaged"].device.type == "cpu"
    again = trainer.strategy.load_checkpoint(path, weights_only=True)  # how a run is resumed
    assert again["state_dict"]["teacher.n_averaged"].device.type == "cpu"


def test_a_map_of_zeros_stays_one_in_the_precision_of_gpus() -> None:
    maps = by_slice_maximum(torch.zeros(1, 2, 2, dtype=torch.float16))
    assert maps.tolist() == [[[0, 0], [0, 0]]]
