"""Checks that a launcher has started as many processes as the trainer expects."""

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
    if TorchElasticEnvironment.detect():
        launcher, started = "torchrun", os.environ["WORLD_SIZE"]
    elif SLURMEnvironment.detect() and "SLURM_STEP_NUM_TASKS" in os.environ:
        # Only srun sets it; the batch script itself may run a single process.
        launcher, started = "srun", os.environ["SLURM_STEP_NUM_TASKS"]
    else:
        return
    if int(started) != devices * nodes:
        raise InputError(
            f"--trainer.devices: {launcher} started {started} processes, but the trainer expects "
            f"{devices} on each of {nodes} nodes; set --trainer.devices and --trainer.num_nodes to "
            "match, and --trainer.strategy ddp"
        )
