"""Which launcher has started how many processes, and whether the trainer expects as many."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from wsseg.utils.errors import InputError


def check_processes(devices: int, nodes: int) -> None:
    """Refuse a number of processes other than the trainer expects.

    With too many, each would train alone in the same folder; with too few, they would wait for
    ever. Lightning itself makes this check only for trainers of several devices.

    Args:
        devices: Number of devices of the trainer on each machine.
        nodes: Number of machines of the trainer.

    Raises:
        InputError: The launcher started another number of processes.
    """
    launcher, started = launched()
    if launcher and started != devices * nodes:
        raise InputError(
            f"--trainer.devices: {launcher} started {started} processes, but the trainer expects "
            f"{devices} on each of {nodes} nodes; set --trainer.devices and --trainer.num_nodes to "
            "match, and --trainer.strategy ddp"
        )


def launched() -> tuple[str, int]:
    """Return which launcher has started this process, and how many in all; "" and 1 if none has."""
    if TorchElasticEnvironment.detect():
        return "torchrun", int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect() and "SLURM_STEP_NUM_TASKS" in os.environ:
        # Only srun sets it; the batch script itself may run a single process.
        return "srun", int(os.environ["SLURM_STEP_NUM_TASKS"])
    return "", 1
