"""The same two-process run under every launcher: real processes, which must end with one result."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.cli.test_cli import CLUSTERING, REPOSITORY, SMALL
from tests.data.conftest import write_store
from wsseg.cli import main

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
DDP = ["--trainer.devices=2", "--trainer.strategy=ddp"]
TOGETHER = [*DDP, "--data.batch_size=4"]
LIMIT = 240  # seconds


def by_lightning(arguments: list[str]) -> None:
    """One process is started, which starts the other."""
    command = [sys.executable, "-m", "wsseg", *arguments]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=LIMIT)


def by_torchrun(arguments: list[str]) -> None:
    """Both are started by torchrun, which tells them who they are."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *launcher, "-m", "wsseg", *arguments]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=LIMIT)


def by_spawning(arguments: list[str]) -> None:
    """Lightning starts both and sends them all that they need."""
    by_lightning([each.replace("strategy=ddp", "strategy=ddp_spawn") for each in arguments])


def by_slurm(arguments: list[str]) -> None:
    """Both are started as srun does it, with SLURM's variables."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "wsseg",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    tasks = []
    for rank in ("0", "1"):
        own = {**ENVIRONMENT, **shared, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        tasks.append(subprocess.Popen([sys.executable, "-m", "wsseg", *arguments], env=own))
    assert [task.wait(LIMIT) for task in tasks] == [0, 0]


Launch = Callable[[list[str]], None]


def weights(folder: Path, store: Path, launch: Launch, *more: str) -> dict[str, torch.Tensor]:
    """What two epochs of clustering and training end with."""
    run = folder / launch.__name__
    where = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    settings = ["--trainer.max_epochs=2", "--seed_everything=0", *(more or TOGETHER)]
    launch(["fit", *where, *SMALL, *settings, *CLUSTERING])
    state: dict[str, torch.Tensor] = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", size=16)


@pytest.fixture(scope="module")
def expected(store: Path) -> dict[str, torch.Tensor]:
    return weights(store.parent, store, by_lightning)


@pytest.mark.parametrize("launch", [by_torchrun, by_spawning, by_slurm])
def test_every_launcher_trains_the_same(
    store: Path, expected: dict[str, torch.Tensor], tmp_path: Path, launch: Launch
) -> None:
    found = weights(tmp_path, store, launch)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def alone(arguments: list[str]) -> None:
    """A single process, here."""
    assert main(arguments) == 0


@pytest.mark.usefixtures("one_thread")
def test_one_process_trains_the_same_on_batches_of_both(
    store: Path, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Augmentation, losses and normalisation are those of all slices; only sums are rounded."""
    found = weights(tmp_path, store, alone, "--data.batch_size=8")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4, msg=name)


def test_prototypes_are_made_by_two_processes_beside_a_progress_bar(
    store: Path, tmp_path: Path
) -> None:
    """Only the first process has the bar, which reduces the logged losses before the end."""
    where = [f"--data.root={store}", f"--trainer.default_root_dir={tmp_path}"]
    small = ["--model=PrototypeCam", "--model.widths=[4,8]"]
    quick = ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--data.batch_size=4"]
    by_lightning(["fit", *where, *small, *quick, *DDP])
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert saved["used"].any()
