"""The study of experiments/sweeps runs, loses no trial, and chooses by a score without masks."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.cli.test_cli import SMALL
from tests.data.conftest import write_store
from wsseg.cli import main as wsseg
from wsseg.utils.errors import InputError

optuna = pytest.importorskip("optuna")
FOLDER = Path(__file__).parents[1] / "experiments" / "sweeps"
QUICK = [*SMALL, "--clustering.n_clusterings=1", "--clustering.warmup_epochs=0"]


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "study.py"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", size=16)


def states(found: Any) -> list[str]:
    return [trial.state.name for trial in found.get_trials()]


def test_failed_and_killed_trials_are_kept_and_the_study_goes_on(
    study: dict[str, Any], store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, out = tmp_path / "sweep.yaml", tmp_path / "out"
    space = {
        "clustering.n_clusters": {"values": [4, 30000]},  # there are not so many pixels
        "model.cluster_weight": {"min": 0.5, "max": 2.0},
        "trainer.max_epochs": {"value": 2},
    }
    sweep.write_text(yaml.safe_dump({"parameters": space}))
    out.mkdir()
    given = [str(store), str(out), f"--sweep={sweep}", *QUICK]
    backend = optuna.storages.journal.JournalFileBackend(str(out / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    before = optuna.create_study(storage=storage, study_name="wsseg", direction="maximize")
    for clusters in (4, 30000):  # of these the first was running when its study was killed
        before.enqueue_trial({"clustering.n_clusters": clusters, "model.cluster_weight": 1.0})
    study["suggest"](before.ask(), space)
    found = study["main"]([*given, "--trials=2"])
    assert states(found) == ["PRUNED", "FAIL", "COMPLETE"]
    _, failed, best = found.get_trials()
    assert best.params == {"clustering.n_clusters": 4, "model.cluster_weight": 1.0}
    assert best.user_attrs["run"] == str(out / "trial-000")
    assert 0 <= best.value == study["last_value"](out / "trial-000") <= 1
    assert failed.user_attrs["status"] == 2
    assert "n_clusters" in (out / "trial-001.log").read_text()
    printed = capsys.readouterr().out
    assert f"2 trials, of which 1 failed: {out / 'trials.csv'}" in printed
    expected = f"best run, consensus 0.000, val/agreement {best.value:.3f}: {out / 'trial-000'}"
    assert expected in printed  # there is no other run to compare it with
    assert (out / "trials.csv").read_text().splitlines()[0].endswith(",consensus")


def test_options_and_stores_that_cannot_be_used_are_refused_at_once(
    study: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'no_such' is not accepted"):
        study["main"]([str(store), str(tmp_path / "out"), "--model.no_such=1"])
    with pytest.raises(InputError, match=r"--trainer\.max_epochs: is varied by .*sweep\.yaml"):
        study["main"]([str(store), str(tmp_path / "out"), "--trainer.max_epochs=8"])
    without = write_store(tmp_path / "store", size=16)
    splits = without / "splits.json"
    folds = json.loads(splits.read_text())
    folds["folds"][0]["train"] += folds["folds"][0].pop("val")
    folds["folds"][0]["val"] = []
    splits.write_text(json.dumps(folds))
    with pytest.raises(InputError, match="no validation cases, by which trials are judged"):
        study["main"]([str(without), str(tmp_path / "out")])


def test_wsseg_understands_what_the_sweep_varies(
    study: dict[str, Any], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For wandb, too, whose agent gives each parameter as --NAME=VALUE."""
    sweep = yaml.safe_load((FOLDER / "sweep.yaml").read_text())
    trial = optuna.create_study().ask()
    chosen = study["suggest"](trial, sweep["parameters"])
    assert chosen.keys() == sweep["parameters"].keys()
    _, command, *options = sweep["command"][:-1]
    varied = [f"--{name}={value}" for name, value in chosen.items()]
    with pytest.raises(SystemExit) as leaving:
        wsseg([command, *options, f"--data.root={store}", *varied, "--print_config"])
    assert not leaving.value.code
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["clustering"]["n_clusters"] == chosen["clustering.n_clusters"]
    assert sweep["metric"] == {"name": study["AGREEMENT"], "goal": "maximize"}


def test_scores_of_runs_are_compared(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for clusters in (4, 8):
        run = tmp_path / str(clusters)
        where = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
        callback = [
            "--trainer.callbacks+=ClusterReSupervision",
            f"--clustering.n_clusters={clusters}",
        ]
        assert wsseg(["fit", *where, *QUICK, *callback, "--trainer.max_epochs=2"]) == 0
        own = [f"--config={run}/config.yaml", f"--ckpt_path={run}/last.ckpt"]
        assert wsseg(["test", *own]) == 0
    capsys.readouterr()
    runpy.run_path(str(FOLDER / "compare.py"))["main"]([str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("2 runs, Dice ")
    assert "| `val/agreement` |" in printed
    assert "| consensus of the better half |" in printed


def test_runs_without_scores_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="0 runs have scores, which cannot be compared"):
        runpy.run_path(str(FOLDER / "compare.py"))["main"]([str(tmp_path)])


def test_the_best_run_by_a_score_is_compared_with_the_best(study: dict[str, Any]) -> None:
    rank = runpy.run_path(str(FOLDER / "compare.py"))["rank"]
    dice = np.array([0.2, 0.9, 0.5])
    assert rank([1.0, 3.0, 2.0], dice) == (pytest.approx(1.0), 0.0)
    assert rank([1.0, np.nan, 2.0], dice) == (pytest.approx(-0.5), pytest.approx(0.4))


def test_the_help_needs_no_study(
    study: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["study.py", "--help"])
    with pytest.raises(SystemExit):
        study["main"]()
    assert "--trials" in capsys.readouterr().out
