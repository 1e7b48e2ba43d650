"""Launchers that start another number of processes than the trainer has."""

from __future__ import annotations

import pytest

from wsseg.cli.processes import check_processes
from wsseg.utils.errors import InputError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0", "GROUP_RANK": "0"}
BATCH = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "wsseg"}
SRUN = {**BATCH, "SLURM_STEP_NUM_TASKS": "2"}
SHELL = {**SRUN, "SLURM_JOB_NAME": "bash"}  # `srun --pty bash`, in which Lightning launches


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {**TORCHRUN, **SRUN, "LOCAL_RANK": ""}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "launcher"), [(TORCHRUN, "torchrun"), (SRUN, "srun")], ids=["torchrun", "srun"]
)
def test_processes_that_would_train_alone_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], launcher: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = f"{launcher} started 2 processes, but the trainer expects 1"
    with pytest.raises(InputError, match=said):
        check_processes(1, 1)
    check_processes(2, 1)
    check_processes(1, 2)


@pytest.mark.parametrize("variables", [{}, BATCH, SHELL], ids=["none", "batch", "shell"])
def test_other_processes_start_as_many_as_they_want(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_processes(3, 2)
