"""The whole command line, in-process, on tiny stores and volumes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from tests.data.conftest import write_store
from wsseg.cli import main
from wsseg.evaluation.metrics import METRICS

REPOSITORY = Path(__file__).resolve().parents[2]
QUICKSTART = REPOSITORY / "experiments" / "quickstart.yaml"
SMALL = [
    "--model.widths=[4,8]",
    "--model.embedding_widths=[4,8]",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
]
CLUSTERING = [
    "--trainer.callbacks=ClusterReSupervision",
    "--clustering.n_clusters=4",
    "--clustering.n_clusterings=2",
    "--clustering.warmup_epochs=1",
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", size=16)


def fit(store: Path, run: Path, *more: str) -> int:
    arguments = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    return main([*arguments, *SMALL, *more])


@pytest.mark.parametrize(("command", "word"), [("", "prepare"), ("predict", "--dicom_seg")])
def test_help_needs_neither_torch_nor_lightning(command: str, word: str) -> None:
    given = [*command.split(), "--help"]
    code = (
        f"import sys; from wsseg.cli import main\ntry: main({given})\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout
    assert word in shown
    assert shown.endswith("False\n")


def test_two_processes_train_and_score_as_one(store: Path, tmp_path: Path) -> None:
    """Two real processes, started as a user would; the second starts itself from the first."""
    run = tmp_path / "run"
    scores = []
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    more = [*ddp, "--trainer.max_epochs=3", "--data.batch_size=4", *CLUSTERING]
    where = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    wsseg("fit", *where, *SMALL, *more)
    for devices in (ddp, ["--trainer.devices=1", "--trainer.strategy=auto"]):
        wsseg("test", f"--config={run}/config.yaml", f"--ckpt_path={run}/last.ckpt", *devices)
        scores.append((run / "per_case.csv").read_text())
    assert scores[0] == scores[1]
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert any("centroids" in part.get("clusters", {}) for part in state["callbacks"].values())


def wsseg(*arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [sys.executable, "-m", "wsseg", *arguments], check=True, env=environment, timeout=300
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--spaceing 2 brats a b", "--spaceing: unknown option"),
        ("--spaceing=2 brats a b", "--spaceing: unknown option"),
        ("bratz a b", "layout: Expected a typing.Literal['table', 'folders', 'brats', 'decathlon'"),
        ("brats a b --spacing high", "--spacing: Expected a <class 'float'>. Got value: high"),
        ("brats a b --classes.core [1] --modalities+=T1", "a: does not exist"),
    ],
)
def test_wrong_arguments_are_named(
    capsys: pytest.CaptureFixture[str], arguments: str, problem: str
) -> None:
    assert main(["prepare", *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {problem}")


def test_every_fault_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [{"id": name, "images": {}} for name in ("ann", "ben")]
    (tmp_path / "list.yaml").write_text(yaml.safe_dump({"modalities": ["T1"], "cases": cases}))
    arguments = ["datalist", str(tmp_path / "list.yaml"), str(tmp_path / "store")]
    assert main(["prepare", *arguments, "--classes", '{"tumour": [1]}']) == 2
    faults = capsys.readouterr().err.splitlines()[-2:]  # below the progress bar
    assert [line.startswith("error: ") for line in faults] == [True, True]
    assert "case ann has no T1 image" in faults[0]
    assert "case ben has no T1 image" in faults[1]


def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", unreadable)
    assert main(["prepare", "brats", str(tmp_path), str(tmp_path / "store")]) == 2
    advice = "check the permissions or name another place"
    assert capsys.readouterr().err == f"error: {tmp_path}: Permission denied; {advice}\n"


def test_fit_then_test_fill_the_run_folder(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit(store, run, "--trainer.max_epochs=3", *CLUSTERING) == 0
    for name in ("config.yaml", "last.ckpt", "logs/metrics.csv"):
        assert (run / name).is_file(), name
    assert list(run.rglob("*.png"))
    with (run / "logs" / "metrics.csv").open() as file:
        logged = set().union(*(row.keys() for row in csv.DictReader(file)))
    assert {"train/cluster", "train/reconstruction", "clusters/relevant_area"} <= logged

    saved = (run / "config.yaml").read_text()
    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")])
    assert (run / "config.yaml").read_text() == saved
    scores = json.loads((run / "metrics.json").read_text())["tumour"]
    assert set(scores) == {*METRICS, "cases", "drawn", "not_drawn"}
    assert set(scores["dice"]) == {"mean", "median", "ci95"}
    assert scores["cases"] == 2
    with (run / "per_case.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["f", "g"]


def test_training_is_the_same_without_the_mask_tree(store: Path, tmp_path: Path) -> None:
    """Nothing that training does can depend on masks: it runs alike when they are gone."""
    weights = []
    for name in ("with", "without"):
        if name == "without":
            for path in (store / "masks").iterdir():
                path.unlink()
            (store / "masks").rmdir()
        fit(store, tmp_path / name, "--trainer.max_epochs=3", *CLUSTERING)
        checkpoint = torch.load(tmp_path / name / "last.ckpt", weights_only=True)
        weights.append(checkpoint["state_dict"])
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


def test_resuming_equals_an_uninterrupted_run(store: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(store, whole, "--trainer.max_epochs=4", *CLUSTERING)
    # The schedule spans max_epochs, so the interruption stops a run of four epochs after two.
    stop = ["--trainer.callbacks+=tests.cli.test_cli.StopAfterTwo"]
    fit(store, parts, "--trainer.max_epochs=4", *CLUSTERING, *stop)
    fit(store, parts, "--trainer.max_epochs=4", *CLUSTERING, f"--ckpt_path={parts / 'last.ckpt'}")
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in (whole, parts))
    assert first["global_step"] == second["global_step"]
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key


def test_quickstart_follows_the_channels_of_the_data(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", size=16, modalities=("A", "B", "C"))
    run = tmp_path / "run"
    quick = [f"--config={QUICKSTART}", "--trainer.fast_dev_run=1", "--trainer.accelerator=cpu"]
    main(["fit", *quick, f"--data.root={store}", f"--trainer.default_root_dir={run}"])
    assert yaml.safe_load(QUICKSTART.read_text())["trainer"]["callbacks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([*CLUSTERING, "--clustering.n_clusters=30000"], "n_clusters"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    run = tmp_path / "run"
    assert fit(store, run, "--trainer.max_epochs=2", *change) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (run / "last.ckpt").exists()


def test_other_hyper_parameters_than_the_checkpoints_are_announced(
    store: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(store, run, "--trainer.max_epochs=1")
    resumed = [
        "--trainer.max_epochs=2",
        f"--ckpt_path={run / 'last.ckpt'}",
        "--model.optimisation.lr=0.5",
    ]
    with pytest.warns(UserWarning, match=r"model\.optimisation\.lr is 0\.5 here but 0\.002"):
        fit(store, run, *resumed)


def test_tensorboard_works(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(store, run, "--trainer.max_epochs=1", "--trainer.logger=TensorBoardLogger")
    assert list(run.rglob("events.out.tfevents.*"))


class StopAfterTwo(pl.Callback):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch >= 1


def test_an_unexpected_error_is_one_line_and_its_traceback_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, arguments: list[str]) -> int:
        raise ZeroDivisionError("of a\nkind")

    monkeypatch.setattr("wsseg.cli.commands._run", fail)
    assert main(["predict"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ZeroDivisionError: of a kind; ")
    saved = Path(line[line.rindex("(") + 1 : -1])
    assert "in fail" in saved.read_text()
    saved.unlink()
    with pytest.raises(ZeroDivisionError):
        main(["predict", "--debug"])
