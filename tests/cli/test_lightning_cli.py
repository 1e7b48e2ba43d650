"""Refusals and defaults of ``wsseg fit | validate | test``, in-process."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.plugins import AsyncCheckpointIO

from tests.cli.test_cli import SMALL
from tests.data.conftest import write_store
from wsseg.cli import main
from wsseg.cli.train import run
from wsseg.models import CamModule, Finishing
from wsseg.utils.files import lock


class Foreign(pl.LightningModule):
    """A module that knows nothing of wsseg's data specification."""

    threshold = 0.5
    finishing = Finishing(refinement=0.0, smallest_component=0.0)

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(2, width, 1)

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return self.layer(image).sigmoid() * valid[:, None]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        probability = self(batch["image"], batch["valid"])
        return (probability.amax((2, 3)) - batch["tags"]).square().mean()

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
        return {"probability": self(batch["image"], batch["valid"])}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", size=16)


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs."""
    run = tmp_path_factory.mktemp("runs") / "run"
    assert fit(store, run, "--trainer.max_epochs=2") == 0
    return run


def fit(store: Path, run: Path, *more: str) -> int:
    arguments = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    return main([*arguments, *SMALL, *more])


def epochs(run: Path) -> list[int]:
    with (run / "logs" / "metrics.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row["train/classification"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--model.lrr=1", "'lrr' is not accepted"),
        (
            "--model.optimisation.lr=high",
            "--model.optimisation.lr: Expected a <class 'float'>. Got value: high",
        ),
        ("--model.finishing.sharpening=1", "sharpening"),
        (
            "--model.encoder=vgg",
            "error: --model.encoder vgg: unknown; choose one of unet, resnet10",
        ),
        ("--model.augmentation.noise=.inf", "--model.augmentation.noise inf: must be at least 0"),
        ("--ckpt_path=best", "--ckpt_path best: is known only to the process that trained"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    assert fit(store, tmp_path / "run", change) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_a_missing_store_is_named_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 2
    assert "required: --data.root;" in capsys.readouterr().err


def test_scoring_needs_a_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", f"--config={trained}/config.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: --ckpt_path: is missing")


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_of_other_modalities_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    other = write_store(tmp_path / "store", size=16, modalities=("FLAIR", "T1", "T2"))
    where = [f"--data.root={other}", f"--trainer.default_root_dir={tmp_path}/run"]
    assert main([command, *where, *SMALL, f"--ckpt_path={trained}/last.ckpt"]) == 2
    expected = "was trained on the modalities FLAIR, T1, but the store has FLAIR, T1, T2"
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_refused(
    store: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = ["--model.widths=[4,16]", f"--ckpt_path={trained}/last.ckpt"]
    assert fit(store, tmp_path / "run", *change) == 2
    assert "model.widths is [4, 16] here but [4, 8]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_last_checkpoint_is_compared_with_the_data_too(
    store: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_store(tmp_path / "store", size=16, modalities=("FLAIR", "T1", "T2"))
    assert fit(other, trained, "--ckpt_path=last") == 2
    assert "but the store has FLAIR, T1, T2" in capsys.readouterr().err
    nowhere = [f"--data.root={store}", f"--trainer.default_root_dir={tmp_path}/absent"]
    assert main(["test", *nowhere, *SMALL, "--ckpt_path=last"]) == 2
    assert "absent/last.ckpt: does not exist" in capsys.readouterr().err


def test_rows_beyond_the_last_checkpoint_are_not_logged_twice(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(store, run, "--trainer.max_epochs=2")
    first = (run / "last.ckpt").read_bytes()
    fit(store, run, "--trainer.max_epochs=3", "--ckpt_path=last")
    (run / "last.ckpt").write_bytes(first)  # as if stopped before the third epoch was saved
    fit(store, run, "--trainer.max_epochs=4", "--ckpt_path=last")
    assert epochs(run) == [0, 1, 2, 3]


class Stop(pl.Callback):
    """Presses Ctrl-C in the second epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


class Terminate(pl.Callback):
    """Stops the run in the second epoch as a queue does whose time is up."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("by", ["Stop", "Terminate"])
def test_a_stopped_run_says_how_to_resume(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    run = tmp_path / "run"
    more = ["--trainer.max_epochs=3", f"--trainer.callbacks+=tests.cli.test_lightning_cli.{by}"]
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert fit(store, run, *more) == 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # Lightning ignores them from then on
    assert f"to resume, add --ckpt_path {run}/last.ckpt" in capsys.readouterr().err


def test_a_precision_that_cannot_be_averaged_is_refused_before_anything_is_written(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert fit(store, run, "--trainer.precision=bf16-true") == 2
    assert "give bf16-mixed or 32-true" in capsys.readouterr().err
    assert not run.exists()


def test_every_checkpoint_is_announced(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    one = "--trainer.max_epochs=1"
    own = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.dirpath={run}/own"]
    fit(store, run, one, *own, "--trainer.callbacks.monitor=train/loss")
    out = capsys.readouterr().out
    assert f"checkpoint: {run}/last.ckpt" in out
    assert f"best train/loss: {run}/own/epoch=0-step=2.ckpt" in out
    run = tmp_path / "another"
    own[1] = f"--trainer.callbacks.dirpath={run}/own"
    fit(store, run, one, *own)  # which takes the place of wsseg's
    assert f"checkpoint: {run}/own/epoch=0" in capsys.readouterr().out


def test_loggers_get_the_whole_configuration(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(store, run, "--trainer.max_epochs=1", "--trainer.logger=TensorBoardLogger")
    assert (run / "logs" / "metrics.csv").is_file(), "a table is written beside any logger"
    logged = yaml.safe_load(next(run.glob("lightning_logs/**/hparams.yaml")).read_text())
    assert logged["data"]["batch_size"] == 16
    assert logged["widths"] == [4, 8]


def test_logs_survive_scoring_and_are_carried_on(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(store, run, "--trainer.max_epochs=2")
    last = f"--ckpt_path={run}/last.ckpt"
    assert main(["test", f"--config={run}/config.yaml", last]) == 0
    assert epochs(run) == [0, 1]
    assert fit(store, run, "--trainer.max_epochs=3", last) == 0
    assert epochs(run) == [0, 1, 2]
    assert fit(store, run, "--trainer.max_epochs=4", "--ckpt_path=last") == 0
    assert epochs(run) == [0, 1, 2, 3]
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None
    assert not list(run.rglob(".part-*"))


def test_a_checkpoint_alone_rebuilds_the_module(trained: Path) -> None:
    module = CamModule.load_from_checkpoint(trained / "last.ckpt", weights_only=True)
    assert module.spec.modalities == ("FLAIR", "T1")


def test_everything_has_a_short_name(store: Path, tmp_path: Path) -> None:
    clusters = {"clustering": {"n_clusters": 4, "n_clusterings": 1}, "warmup_epochs": 0}
    config = {
        "model": {"class_path": "CamModule", "init_args": {"augmentation": "SliceAugmentation"}},
        "trainer": {
            "callbacks": [
                {
                    "class_path": "ClusterReSupervision",
                    "init_args": {**clusters, "scorer": "PurityScorer"},
                },
                {"class_path": "OverlayLogger", "init_args": {"n_slices": 1}},
            ],
            "logger": [{"class_path": "CSVLogger"}, {"class_path": "TensorBoardLogger"}],
        },
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert fit(store, run, f"--config={path}", "--trainer.max_epochs=1") == 0
    saved = (run / "config.yaml").read_text()
    assert "wsseg.comparators.PurityScorer" in saved
    for pattern in ("metrics.csv", "events.out.tfevents.*", "overlays-train-*.png"):
        assert list(run.rglob(pattern)), pattern


def test_a_foreign_module_trains_and_is_scored(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = {
        "model": {"class_path": "tests.cli.test_lightning_cli.Foreign"},
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 1},
    }
    (tmp_path / "foreign.yaml").write_text(yaml.safe_dump(config))
    where = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
    assert main(["fit", f"--config={tmp_path}/foreign.yaml", *where]) == 0
    assert main(["test", f"--config={run}/config.yaml", f"--ckpt_path={run}/last.ckpt"]) == 0
    assert json.loads((run / "metrics.json").read_text())["tumour"]["cases"] == 2


def test_scores_of_other_cases_do_not_stand_for_a_runs_own(
    trained: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_store(tmp_path / "other", size=16, seed=1)
    score = ["test", f"--config={trained}/config.yaml", f"--ckpt_path={trained}/last.ckpt"]
    assert main([*score, f"--data.root={other}"]) == 2
    assert f"holds a run on {store}, fold 0; scores of {other}" in capsys.readouterr().err
    assert main([*score, "--data.fold=1"]) == 2
    assert "(cases of another fold may have been trained on)" in capsys.readouterr().err
    elsewhere = f"--trainer.default_root_dir={tmp_path / 'elsewhere'}"
    assert main([*score, f"--data.root={other}", elsewhere]) == 0
    assert (tmp_path / "elsewhere" / "metrics.json").is_file()
    assert not (trained / "metrics.json").exists()


def test_a_run_that_was_moved_keeps_its_scores_to_itself(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first run is renamed, and a second one takes its place."""
    place, moved = tmp_path / "latest", tmp_path / "good"
    assert fit(store, place, "--trainer.max_epochs=1") == 0
    place.rename(moved)
    assert fit(store, place, "--trainer.max_epochs=1") == 0
    own = [f"--config={moved}/config.yaml", f"--ckpt_path={moved}/last.ckpt"]
    assert main(["test", *own]) == 0
    assert (moved / "metrics.json").is_file()
    assert main(["fit", *own, "--trainer.max_epochs=2"]) == 0
    assert epochs(moved) == [0, 1]
    assert not (place / "metrics.json").exists()
    assert epochs(place) == [0]
    capsys.readouterr()
    assert main(["test", f"--config={place}/config.yaml", f"--ckpt_path={moved}/last.ckpt"]) == 2
    assert f"{place}: holds another run than {moved}/last.ckpt" in capsys.readouterr().err


@pytest.fixture(scope="module")
def refolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slices of ``store``, with a second fold that holds out what the first trains on."""
    root = write_store(tmp_path_factory.mktemp("data") / "store", size=16)
    splits = json.loads((root / "splits.json").read_text())
    splits["folds"].append({"train": ["d", "e", "f", "g"], "val": ["c"], "test": ["a", "b"]})
    (root / "splits.json").write_text(json.dumps(splits))
    return root


def test_no_training_goes_on_with_what_knows_the_held_out_cases(
    trained: Path, refolded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "last.ckpt: was trained on case c and 2 more, which fold 1 of"
    last, run = trained / "last.ckpt", tmp_path / "run"
    assert fit(refolded, run, f"--ckpt_path={last}", "--data.fold=1") == 2
    assert said in capsys.readouterr().err
    second = ["--config=experiments/segmentation.yaml", f"--model.targets.checkpoint={last}"]
    where = [f"--data.root={refolded}", f"--trainer.default_root_dir={run}"]
    assert main(["fit", *second, *where, "--data.fold=1"]) == 2
    assert said in capsys.readouterr().err
    assert not (run / "config.yaml").exists()


def test_scores_of_cases_that_were_trained_on_are_no_secret(
    trained: Path, refolded: Path, tmp_path: Path
) -> None:
    of = [f"--config={trained}/config.yaml", f"--ckpt_path={trained}/last.ckpt", "--data.fold=1"]
    elsewhere = f"--trainer.default_root_dir={tmp_path / 'elsewhere'}"
    with pytest.warns(UserWarning, match="was trained on case a and 1 more, which fold 1 of"):
        assert main(["test", *of, f"--data.root={refolded}", elsewhere]) == 0


def test_scores_that_cannot_be_written_are_not_computed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    where = f"--trainer.default_root_dir={tmp_path / 'file'}"
    config = [f"--config={trained}/config.yaml", f"--ckpt_path={trained}/last.ckpt"]
    assert main(["test", *config, where]) == 2
    assert "file: is a file; name a folder other than" in capsys.readouterr().err


def test_training_on_sets_the_scores_aside(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit(store, run, "--trainer.max_epochs=1") == 0
    assert main(["test", f"--config={run}/config.yaml", f"--ckpt_path={run}/last.ckpt"]) == 0
    assert fit(store, run, "--trainer.fast_dev_run=true") == 0  # which replaces nothing
    assert (run / "metrics.json").is_file()
    assert fit(store, run, "--trainer.max_epochs=2", "--ckpt_path=last") == 0
    assert not (run / "metrics.json").exists()
    assert (run / "former_metrics.json").is_file()
    assert (run / "former_per_case.csv").is_file()


def test_callbacks_whose_states_would_be_mixed_up_are_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.yaml").write_text(
        "trainer: {callbacks: [{class_path: ClusterReSupervision},"
        " {class_path: ClusterReSupervision}]}"
    )
    assert fit(store, tmp_path / "run", f"--config={tmp_path / 'two.yaml'}") == 2
    said = capsys.readouterr().err
    assert "error: --trainer: Found more than one stateful callback" in said
    assert "Traceback" not in said


def test_a_dry_run_leaves_nothing_in_the_way(store: Path, tmp_path: Path) -> None:
    assert fit(store, tmp_path / "run", "--trainer.fast_dev_run=true") == 0
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_nothing_is_written_where_a_run_wants_no_checkpoint(store: Path, tmp_path: Path) -> None:
    more = ["--trainer.enable_checkpointing=false", "--trainer.logger=false"]
    assert fit(store, tmp_path / "run", "--trainer.max_epochs=1", *more) == 0
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_given_way_of_writing_checkpoints_stays(store: Path, tmp_path: Path) -> None:
    where = [f"--data.root={store}", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    own = ["--trainer.plugins=AsyncCheckpointIO", "--trainer.fast_dev_run=true"]
    cli = run(["fit", *where, *SMALL, *own])
    assert isinstance(cli.trainer.strategy.checkpoint_io, AsyncCheckpointIO)


def test_the_help_lists_the_options_of_a_callback(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--trainer.callbacks.help=ClusterReSupervision"):
        with pytest.raises(SystemExit) as leaving:
            main(["fit", option])
        assert leaving.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "wsseg fit --model.help CamModule" in shown
    assert "--trainer.callbacks.clustering.n_clusters N_CLUSTERS" in shown


def test_two_trainings_do_not_share_a_folder(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "run"
    with lock(tmp_path / "run.fit"):
        assert fit(store, root) == 2
    message = capsys.readouterr().err
    assert f"{root}: process {os.getpid()} on " in message
    assert "is training there" in message
    assert not root.exists()
    assert fit(store, root, "--trainer.max_epochs=1") == 0  # nothing is held any more
    assert not [*tmp_path.glob(".*lock")]


def test_a_link_to_the_folder_of_a_training_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with lock(tmp_path / "run.fit"):
        assert fit(store, tmp_path / "link") == 2
    assert "is training there" in capsys.readouterr().err
