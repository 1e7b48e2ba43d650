"""Whether a launcher started as many processes as the trainer has."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from wsseg.utils.errors import InputError


def check_processes(devices: int, nodes: int) -> None:
    """Refuse processes that would train alone, all in one folder, or wait for ones that never come.

    Lightning compares the numbers itself, but not for a trainer of one device, which it gives to
    every process that torchrun or srun starts without ``--trainer.devices``.

    Args:
        devices: Of the trainer, on each machine.
        nodes: Machines of the trainer.

    Raises:
        InputError: The launcher started another number of processes.
    """
    launcher, started = started_processes()
    if launcher and started != devices * nodes:
        raise InputError(
            f"--trainer.devices: {launcher} started {started} processes, but the trainer expects "
            f"{devices} on each of {nodes} nodes; set --trainer.devices and --trainer.num_nodes to "
            "match, and --trainer.strategy ddp"
        )


def started_processes() -> tuple[str, int]:
    """Return the launcher and how many processes it started; no name if there is none."""
    if TorchElasticEnvironment.detect():
        return "torchrun", int(os.environ["WORLD_SIZE"])
    # Only set by srun, not in the batch script, which may run a single process.
    if SLURMEnvironment.detect() and (tasks := os.environ.get("SLURM_STEP_NUM_TASKS")):
        return "srun", int(tasks)
    return "", 1
