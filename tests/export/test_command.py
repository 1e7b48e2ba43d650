"""What ``wsseg export`` refuses, and what it leaves alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.export.conftest import SPEC
from wsseg.cli import main
from wsseg.comparators.base import Comparator
from wsseg.data.spec import DataSpec
from wsseg.export import command, files
from wsseg.export.files import all_or_nothing
from wsseg.export.guide import guide
from wsseg.export.network import SlicesNetwork, build_network
from wsseg.models import CamModule
from wsseg.utils.errors import InputError


def refused(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> str:
    """Run the command, and return the one line that it says."""
    assert main(["export", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_wrong_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "notes.ckpt"
    other.write_text("no checkpoint")
    out = tmp_path / "out"
    assert "is not a checkpoint" in refused(capsys, other, out)
    assert "does not exist" in refused(capsys, tmp_path / "none.ckpt", out)
    assert "last.ckpt: does not exist" in refused(capsys, tmp_path, out)
    assert not out.exists()


def test_what_is_in_the_way_is_left_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    assert "holds files, but no model" in refused(capsys, checkpoint, tmp_path / "mine")
    assert "is a file" in refused(capsys, checkpoint, tmp_path / "mine/notes.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def write_half(out: Path) -> None:
    """Begin to export a model, and be stopped."""
    with all_or_nothing(out) as part:
        (part / "models").mkdir()
        (part / files.DESCRIPTION).write_text("half")
        raise KeyboardInterrupt


def test_an_export_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    (out / "models").mkdir(parents=True)
    (out / files.DESCRIPTION).write_text("earlier")
    (out / "eval").mkdir()
    files.check_output(out)
    with pytest.raises(KeyboardInterrupt):
        write_half(out)
    assert (out / files.DESCRIPTION).read_text() == "earlier"
    with all_or_nothing(out) as part:
        (part / "models").mkdir()
        (part / files.DESCRIPTION).write_text("later")
    assert (out / files.DESCRIPTION).read_text() == "later"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert (out / "eval").is_dir()


def test_missing_packages_are_named(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find(name: str) -> Any:
        return None if name == "onnxruntime" else importlib.util.find_spec(name)

    monkeypatch.setattr(command, "find_spec", find)
    line = refused(capsys, checkpoint, tmp_path / "out")
    assert line.endswith('the package onnxruntime; pip install "wsseg[export]"')


def test_comparators_are_refused() -> None:
    module = Comparator(SPEC.to_dict(), widths=(4, 8))
    with pytest.raises(InputError, match="Comparator: is a comparator, which cannot be exported"):
        SlicesNetwork(module)


def test_a_description_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text('{"wsseg": "0.1.0"}')
    with pytest.raises(InputError, match="describes no model"):
        build_network(file)
    file.write_text('{"class_path": "os.system", "hyper_parameters": {}}')
    with pytest.raises(InputError, match=r"holds a os\.system"):
        build_network(file)


def test_the_guide_says_what_the_model_is() -> None:
    text = guide(CamModule(SPEC.to_dict(), widths=(4, 8), embedding_widths=(4, 8)), "lesions")
    text = " ".join(text.split())
    assert "| 2 | whole |" in text
    assert "whole, core in images of T1, FLAIR" in text
    assert "but this model takes several modalities" in text
    assert "segments called *unused*" not in text  # labels 1 and 2 have no gap
    assert "axial slices, rows from anterior to posterior" in text


@pytest.mark.parametrize(
    ("label", "expected"), [(4, "segments called *unused* empty"), (255, "labels are too high")]
)
def test_the_guide_says_what_slicer_makes_of_labels(label: int, expected: str) -> None:
    spec = DataSpec(("T1",), {"cyst": (label,)}, "axial", None, (48, 48))
    module = CamModule(spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    assert expected in " ".join(guide(module, "cysts").split())
