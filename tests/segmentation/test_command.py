"""The second stage on the command line, as its configuration's header says."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.data.conftest import write_store
from wsseg.checkpoints.loading import load_module
from wsseg.cli import main
from wsseg.cli.train import run
from wsseg.models import CamModule
from wsseg.segmentation import SegmentationModule

TRUE = "wsseg.supervised.TrueMasks"
REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
    "--trainer.max_epochs=1",
    "--data.batch_size=8",
]
SMALL = "--model.widths=[4,8,8]"
SECOND = [f"--config={REPOSITORY}/experiments/segmentation.yaml", SMALL]
CEILING = [f"--config={REPOSITORY}/experiments/supervised.yaml", SMALL]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", size=16)


@pytest.fixture(scope="module")
def first(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first stage that finds the lesions: any checkpoint of wsseg will do."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    more = [
        "--trainer.max_epochs=15",
        "--model.optimisation.lr=0.02",
        "--model.optimisation.teacher_decay=0.5",
    ]
    assert main(["fit", *CEILING, *QUICK, *where(store, folder), *more]) == 0
    return folder / "last.ckpt"


def where(store: Path, run: Path) -> list[str]:
    return [f"--data.root={store}", f"--trainer.default_root_dir={run}"]


def correct(folder: Path) -> None:
    """Save a mask of the first training case."""
    import nibabel as nib

    folder.mkdir()
    drawn = np.zeros((16, 16, 16), np.uint8)
    drawn[4:12, 4:12] = 1
    nib.save(nib.Nifti1Image(drawn, np.eye(4)), folder / "a.nii.gz")


def logged(run: Path, name: str) -> list[float]:
    with (run / "logs" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_another_class_inherits_no_values_of_the_default_one(store: Path, tmp_path: Path) -> None:
    dry = "--trainer.fast_dev_run=true"
    config = {"model": {"class_path": "SegmentationModule", "init_args": {"targets": TRUE}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "one.yaml").write_text("trainer: {max_epochs: 1}")
    for more in (
        ["--config", str(tmp_path / "two.yaml")],
        [f"--config={tmp_path}/one.yaml", "--model=SegmentationModule", f"--model.targets={TRUE}"],
    ):
        cli = run(["fit", *more, *QUICK, *where(store, tmp_path / "run"), dry])
        assert cli.model.hparams["widths"] == [16, 32, 64, 96, 128]
    cli = run(["fit", f"--config={tmp_path}/one.yaml", *QUICK, *where(store, tmp_path), dry])
    assert type(cli.model) is CamModule


@pytest.mark.parametrize("name", ["NoSuchModule", "no.such.Module", "json.dumps", "5"])
def test_an_unknown_class_is_refused_in_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for chosen in (f"--model={name}", f"--config={tmp_path}/x.yaml"):
        (tmp_path / "x.yaml").write_text(f"model: {{class_path: '{name}'}}")
        assert main(["fit", chosen, *QUICK, *where(store, tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert name.split(".")[0] in line


def test_fit_resume_and_test(
    store: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "second"
    fit = ["fit", *SECOND, *QUICK, *where(store, run), f"--model.targets.checkpoint={first}"]
    assert main(fit) == 0
    last = f"--ckpt_path={run}/last.ckpt"
    assert main([*fit, "--trainer.max_epochs=2", last]) == 0
    moved = first.rename(first.with_name("moved.ckpt"))
    try:
        capsys.readouterr()
        assert main(["test", f"--config={run}/config.yaml", last]) == 0
        assert "warning" not in capsys.readouterr().err
    finally:
        moved.rename(first)
    assert (run / "metrics.json").is_file()
    assert isinstance(load_module(run / "last.ckpt"), SegmentationModule)
    shares = logged(run, "pseudo_masks/relevant")
    assert len(shares) == 2  # the resumed part makes them again
    assert shares[0] == shares[1] > 0.02
    assert len(logged(run, "train/corrected")) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--model.targets.checkpoint: is missing; give the checkpoint of the first stage"),
        (["--model.targets.checkpoint=absent.ckpt"], "absent.ckpt: does not exist"),
        (["--model.targets=null"], "--model.targets: is missing"),
        (
            ["--model.targets.checkpoint=x", "--model.targets.low=0.9"],
            "--model.targets: low and high must satisfy 0 <= low",
        ),
        (
            ["--data.corrections=absent", "--model.targets.checkpoint={first}"],
            "corrections absent: is no folder; give a folder",
        ),
    ],
)
def test_refusals_are_one_line(
    store: Path,
    first: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    more = [each.replace("{first}", str(first)) for each in more]
    assert main(["fit", *SECOND, *QUICK, *where(store, tmp_path / "run"), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_run_can_be_scored_from_any_folder(
    store: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration of a run names the store and what it learns from by absolute paths."""
    monkeypatch.chdir(first.parent)
    correct(Path("corrected"))
    near = [f"--data.root={os.path.relpath(store)}", f"--model.targets.checkpoint={first.name}"]
    near += ["--data.corrections=corrected"]
    run = tmp_path / "run"
    assert main(["fit", *SECOND, *QUICK, *near, f"--trainer.default_root_dir={run}"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["test", f"--config={run}/config.yaml", f"--ckpt_path={run}/last.ckpt"]) == 0
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["targets"]["init_args"]["checkpoint"] == str(first)
    assert config["data"]["corrections"] == str(first.parent / "corrected")


def test_two_processes_score_as_one(store: Path, first: Path, tmp_path: Path) -> None:
    """An odd number of slices, of which each process has every second one."""
    test = ["test", f"--config={first.parent}/config.yaml", f"--ckpt_path={first}"]
    one, two = (tmp_path / name for name in ("one", "two"))
    assert main([*test, f"--trainer.default_root_dir={one}"]) == 0
    more = [f"--trainer.default_root_dir={two}", "--trainer.devices=2", "--trainer.strategy=ddp"]
    subprocess.run(
        [sys.executable, "-m", "wsseg", *test, *more],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        timeout=300,
    )
    for name in ("metrics.json", "per_case.csv"):
        assert (one / name).read_text() == (two / name).read_text()


def test_two_processes_make_the_masks_of_one(store: Path, first: Path, tmp_path: Path) -> None:
    """And train the same weights on the same batches. The mask of one case is corrected."""
    correct(tmp_path / "corrected")
    shares, weights = [], []
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4"]
    for name, more in (("one", []), ("two", two)):
        run = tmp_path / name
        corrected = f"--data.corrections={tmp_path}/corrected"
        command = ["fit", *SECOND, *QUICK, *where(store, run), *more, corrected]
        subprocess.run(
            [sys.executable, "-m", "wsseg", *command, f"--model.targets.checkpoint={first}"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=True,
            timeout=300,
        )
        names = ("relevant", "ignored", "empty_slices")
        shares.append([logged(run, f"pseudo_masks/{each}") for each in names])
        assert not (run / "cluster_maps").exists()
        weights.append(torch.load(run / "last.ckpt", weights_only=True)["state_dict"])
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=0, atol=1e-4, msg=key)
    assert shares[0][0][0] > 0.02
    assert shares[0] == [pytest.approx(each) for each in shares[1]]
