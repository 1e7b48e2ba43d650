"""Each training has a folder of its own, and none takes the place of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.test_cli import SMALL
from tests.data.conftest import write_store
from wsseg.cli import main
from wsseg.cli.run_folder import in_its_folder, link_latest, make_folder, new_folder
from wsseg.utils.errors import InputError

ONE_EPOCH = [*SMALL, "--trainer.max_epochs=1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store in it, which is the present one."""
    write_store(tmp_path / "store", size=16)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_training_has_a_folder_and_the_newest_has_a_link(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--data.root=store", *ONE_EPOCH]) == 0
    first = Path("runs/latest").resolve()
    printed = capsys.readouterr().out
    run = f"runs/{first.name}"
    assert f"the run is in {run}\n" in printed
    assert f"wsseg test --config {run}/config.yaml --ckpt_path {run}/last.ckpt\n" in printed
    assert main(["fit", "--data.root=store", *ONE_EPOCH]) == 0
    second = Path("runs/latest").resolve()
    assert sorted(here.glob("runs/*/last.ckpt")) == sorted(
        folder / "last.ckpt" for folder in (first, second, here / "runs" / "latest")
    )
    # The settings of an old run make a new one, in whatever folder one is.
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert main(["fit", f"--config={first}/config.yaml"]) == 0
    assert len([*Path("runs").iterdir()]) == 2
    assert main(["test", f"--config={first}/config.yaml", f"--ckpt_path={first}/last.ckpt"]) == 0
    assert (first / "metrics.json").is_file()


def test_the_newest_run_is_resumed_where_no_folder_is_named(here: Path) -> None:
    assert main(["fit", "--data.root=store", *ONE_EPOCH]) == 0
    newest = Path("runs/latest").resolve()
    longer = ["fit", "--data.root=store", *SMALL]
    assert main([*longer, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    last = f"--ckpt_path=runs/{newest.name}/last.ckpt"
    assert main([*longer, "--trainer.max_epochs=3", last]) == 0
    assert main(["test", "--data.root=store", *SMALL, last]) == 0
    assert (newest / "metrics.json").is_file()
    assert {each.name for each in Path("runs").iterdir()} == {"latest", newest.name}


def test_no_run_takes_the_place_of_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "RUN").mkdir()
    (here / "RUN" / "last.ckpt").write_text("hours of work")
    assert main(["fit", "--data.root=store", "--trainer.default_root_dir=RUN", *ONE_EPOCH]) == 2
    error = capsys.readouterr().err
    assert "RUN: holds a run, which would be replaced; add --ckpt_path last to resume" in error
    assert (here / "RUN" / "last.ckpt").read_text() == "hours of work"


@pytest.mark.parametrize("change", ["--data.fold=9", "--trainer.fast_dev_run=1", "--help"])
def test_what_does_not_train_leaves_no_folder(here: Path, change: str) -> None:
    try:
        main(["fit", "--data.root=store", *SMALL, change])
    except SystemExit:
        assert change == "--help"
    assert not (here / "runs").exists()


def test_folders_made_in_the_same_second_differ(here: Path) -> None:
    assert [make_folder("now").name for _ in range(3)] == ["now", "now-2", "now-3"]


def test_processes_that_are_started_inside_share_the_folder(here: Path) -> None:
    with new_folder() as folder:
        with new_folder() as of_another:
            assert of_another == folder
        assert Path(folder).is_dir()


def test_processes_of_a_launcher_are_told_to_name_a_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="the 2 processes of torchrun must"):
        new_folder().__enter__()
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(InputError, match="processes of 2 nodes must"):
        new_folder(nodes=2).__enter__()


def test_a_folder_in_the_place_of_the_link_stays(here: Path) -> None:
    (here / "runs" / "latest").mkdir(parents=True)
    (here / "runs" / "latest" / "last.ckpt").touch()
    with pytest.warns(UserWarning, match="runs/latest: cannot be made a link"):
        link_latest(Path("runs/new"))
    assert (here / "runs" / "latest" / "last.ckpt").is_file()
    assert len([*(here / "runs").iterdir()]) == 1


def test_the_store_is_found_from_every_folder(here: Path) -> None:
    assert main(["fit", "--data.root=store", *ONE_EPOCH]) == 0
    saved = yaml.safe_load(Path("runs/latest/config.yaml").read_text())
    assert saved["data"]["root"] == str(here / "store")


def test_arguments_mean_the_folder_in_which_a_run_lies_now(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    own, last = f"--config={tmp_path}/config.yaml", f"--ckpt_path={tmp_path}/last.ckpt"
    root = "--trainer.default_root_dir"
    assert in_its_folder([own, last]) == [own, last, f"{root}={tmp_path}"]
    assert in_its_folder([own]) == [own, f"{root}=runs/DATE_TIME"]
    for others in (
        [own, last, f"{root}=elsewhere"],
        [own, last, "--trainer", "{default_root_dir: elsewhere}"],
        [own, last, "--config=another.yaml"],
        ["--config=experiments/config.yaml", last],
    ):
        assert in_its_folder(others) == others
