"""What wandb is told of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsseg.tracking.wandb_run import describe_run, own_variables, wandb_id


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder, in which wandb has kept an offline run."""
    for name in ("MODE", "PROJECT", "NAME", "RUN_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    folder = tmp_path / "run"
    (folder / "wandb" / "offline-run-20240101_120000-my-id").mkdir(parents=True)
    (folder / "wandb" / "latest-run").symlink_to("offline-run-20240101_120000-my-id")
    return folder


def test_the_last_run_of_a_folder_is_found(run: Path, tmp_path: Path) -> None:
    assert wandb_id(run) == "my-id"
    assert wandb_id(tmp_path) is None


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [(None, None), ("run/last.ckpt", "my-id"), ("other/last.ckpt", None)],
)
def test_only_what_goes_on_is_the_same_run(
    run: Path, tmp_path: Path, checkpoint: str | None, expected: str | None
) -> None:
    with own_variables():
        describe_run(str(run), checkpoint and str(tmp_path / checkpoint))
        assert os.environ.get("WANDB_RUN_ID") == expected
        assert os.environ["WANDB_NAME"] == "run"
        assert os.environ["WANDB_MODE"] == "offline"
    assert "WANDB_NAME" not in os.environ


def test_the_users_settings_come_first(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with own_variables():
        describe_run(str(run), None)
        assert os.environ["WANDB_MODE"] == "online"
    assert os.environ["WANDB_MODE"] == "online"


def test_empty_settings_are_none(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "")
    with own_variables():
        describe_run(str(run), None)
        assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["WANDB_MODE"] == ""
