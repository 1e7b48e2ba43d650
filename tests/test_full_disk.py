"""A full disk ends every command in one line, and what was written before is whole and resumes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl

from tests.cli.test_cli import CLUSTERING, SMALL
from tests.data.conftest import write_store
from tests.malformed.examples import patient, save, volumes
from wsseg.checkpoints.loading import load_module
from wsseg.cli import main
from wsseg.data.store import SliceStore

SIZE = 4 * 2**20  # of the disk, bytes
BALLAST = "ballast"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, left: int) -> None:
    """Leave only so many bytes free."""
    free = shutil.disk_usage(disk).free
    with (disk / BALLAST).open("wb") as file:
        file.write(bytes(max(0, free - left)))


class FillDisk(pl.Callback):
    """Fills the disk of the run when its second epoch begins."""

    left = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            fill(Path(trainer.default_root_dir).parent, self.left)


def refused(status: int, capfd: pytest.CaptureFixture[str], disk: Path) -> str:
    """Return the line that names a file on the disk and says what to do."""
    said = capfd.readouterr().err
    assert status == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"{disk}" in line
    assert "free some space" in line
    assert "Traceback" not in said
    return line


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".part-*") if path.is_file()]


@pytest.mark.parametrize("left", [0, 4096, 20_000, 60_000])
def test_prepare(disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], left: int) -> None:
    volumes(tmp_path)
    command = ["prepare", "datalist", str(tmp_path / "list.json"), str(disk / "store")]
    command += ["--folds=2", "--min_anatomy=0", "--workers=1", "--size=[64,64]"]
    fill(disk, left)
    refused(main(command), capfd, disk)
    assert not (disk / "store").exists()
    assert not parts(disk)
    (disk / BALLAST).unlink()
    assert main(command) == 0
    assert len(SliceStore(disk / "store").cases) == 4


@pytest.mark.parametrize("left", [0, 8192, 100_000])
def test_fit(
    disk: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    left: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FillDisk, "left", left)
    run, store = disk / "run", write_store(tmp_path / "store", size=32, slices=8)
    command = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}", *SMALL]
    command += [*CLUSTERING, "--clustering.every_n_epochs=1", "--trainer.max_epochs=3"]
    fills = "--trainer.callbacks+=tests.test_full_disk.FillDisk"
    line = refused(main([*command, fills]), capfd, disk)
    assert "run" in line
    load_module(run / "last.ckpt")
    assert not parts(disk)
    (disk / BALLAST).unlink()
    assert main([*command, f"--ckpt_path={run}/last.ckpt"]) == 0
    rows = (run / "logs" / "metrics.csv").read_text().splitlines()
    assert rows[-1].count(",") == rows[0].count(",")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    store, run = write_store(folder / "store", size=32), folder / "run"
    command = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={run}", *SMALL]
    assert main([*command, "--trainer.max_epochs=1"]) == 0
    for case in ("ann", "ben"):
        for number, name in enumerate(("flair", "t1")):
            save(folder / "images" / case / f"{case}_{name}.nii.gz", patient(number)[0])
    return run


@pytest.mark.parametrize("left", [0, 12_288])
def test_predict(run: Path, disk: Path, capfd: pytest.CaptureFixture[str], left: int) -> None:
    command = ["predict", f"--ckpt_path={run}/last.ckpt", f"--input={run.parent / 'images'}"]
    command += [f"--output={disk / 'out'}", "--probabilities=true"]
    fill(disk, left)
    refused(main(command), capfd, disk)
    assert not parts(disk)
    (disk / BALLAST).unlink()
    assert main(command) == 0


@pytest.mark.parametrize("words", [["report", "--output"], ["export"]], ids=["report", "export"])
def test_what_is_made_of_a_run(
    run: Path, disk: Path, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    name, *option = words
    if name == "export":
        pytest.importorskip("onnxscript")
    fill(disk, 16_384)
    refused(main([name, str(run), *option, str(disk / "out")]), capfd, disk)
    assert [path.name for path in disk.iterdir()] == [BALLAST]


def test_what_a_disk_cannot_hold_is_not_begun(
    disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store", size=32)
    fill(disk, 100_000)
    command = ["fit", f"--data.root={store}", f"--trainer.default_root_dir={disk / 'run'}"]
    line = refused(main([*command, "--trainer.accelerator=cpu"]), capfd, disk)
    assert "the training takes about" in line
    volumes(tmp_path)
    command = ["prepare", "datalist", str(tmp_path / "list.json"), str(disk / "store")]
    line = refused(main([*command, "--folds=2", "--workers=1", "--size=[512,512]"]), capfd, disk)
    assert "the store takes about" in line
    assert os.listdir(disk) == [BALLAST]  # noqa: PTH208
