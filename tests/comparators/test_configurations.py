"""Every configuration trains, is scored and predicts, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.data.conftest import write_store
from wsseg.benchmark.config import load_config
from wsseg.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"
SINGLE = [
    EXPERIMENTS / "comparators" / f"{name}.yaml"
    for name in (
        "after_accumulation",
        "after_cyclic_learning",
        "after_compressed_equivariance",
        "after_tssk_net",
        "after_unsupervised_constraints",
        "grad_cam",
        "layer_cam",
        "self_equivariance",
        "cross_modality",
        "prototypes",
    )
]
BENCHMARKS = sorted((EXPERIMENTS / "benchmarks").glob("*.yaml"))
REFERENCE = sorted((EXPERIMENTS / "reference").glob("*.yaml"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", size=32, slices=3)


def fit(config: Path, store: Path, run: Path, *more: str) -> int:
    small = ["--model.base_width=4"] if config.parent.name == "reference" else []
    small = small or ["--model.widths=[4,8]"]
    return main(
        [
            "fit",
            f"--config={config}",
            f"--data.root={store}",
            f"--trainer.default_root_dir={run}",
            "--trainer.max_epochs=1",
            "--trainer.accelerator=cpu",
            "--trainer.enable_progress_bar=false",
            *small,
            *more,
        ]
    )


@pytest.mark.parametrize("config", SINGLE + REFERENCE, ids=lambda path: path.stem)
def test_trains_and_is_scored(config: Path, store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit(config, store, run, "--trainer.precision=bf16-mixed") == 0
    saved, checkpoint = run / "config.yaml", run / "last.ckpt"
    assert main(["test", f"--config={saved}", f"--ckpt_path={checkpoint}"]) == 0
    assert json.loads((run / "metrics.json").read_text())["tumour"]["cases"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("decomposition", "at least two classes"), ("cross_modality", "at least two modalities")],
)
def test_says_in_one_line_what_it_cannot_do(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store", size=32, slices=3, modalities=("T1",))
    config = EXPERIMENTS / "comparators" / f"{name}.yaml"
    assert fit(config, store, tmp_path / "run") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "run" / "last.ckpt").exists()


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_tables_give_every_weakly_supervised_method_the_same_budget(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    budgets = {}
    for method in load_config(path).methods:
        if method.config is None or method.after or method.name == "supervised":
            continue
        settings = yaml.safe_load(method.config.read_text())
        given = dict(option.removeprefix("--").split("=") for option in method.overrides)
        epochs = given.get("trainer.max_epochs", settings["trainer"]["max_epochs"])
        budgets[method.name] = int(epochs), settings["data"]["batch_size"]
    assert len(budgets) >= 2
    assert len(set(budgets.values())) == 1, budgets


def test_both_pages_say_which_settings_were_tried_on_held_out_patients() -> None:
    """One page said that nothing else was tried, the other that a learning rate was."""
    pages = {
        name: " ".join((EXPERIMENTS / name / "README.md").read_text().split())
        for name in ("comparators", "reference")
    }
    assert "`adapted` was chosen in its favour" in pages["reference"]
    chosen = pages["comparators"].split("settings were chosen by the Dice of held-out patients")[1]
    named, _ = chosen.split("No other comparator has a setting")
    assert "reference/adapted.yaml" in named
