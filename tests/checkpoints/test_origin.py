"""Checkpoints know by which commands and versions they were made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wsseg import __version__
from wsseg.checkpoints import origin
from wsseg.checkpoints.origin import Origin, code_version, origin_of


def test_a_resumed_training_knows_all_commands() -> None:
    resumed = Origin("wsseg fit --ckpt_path last")
    resumed.load_state_dict(Origin("wsseg fit").state_dict())
    commands = origin_of({"callbacks": {"Origin": resumed.state_dict()}})
    assert [each["command"] for each in commands] == ["wsseg fit", "wsseg fit --ckpt_path last"]
    assert origin_of({}) == origin_of({"callbacks": {}}) == []  # a script has trained


def test_a_commit_is_named_only_if_it_holds_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "PACKAGE", tmp_path)
    monkeypatch.setattr(origin, "_commit_of_installation", str)
    code = tmp_path / "__init__.py"
    code.touch()
    assert code_version() == __version__
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")

    def git(*arguments: str) -> None:
        subprocess.run(["git", *who, "-C", str(tmp_path), *arguments], check=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "a project that ignores its environment")
    assert code_version() == __version__
    git("add", ".")
    git("commit", "-q", "-m", "a clone")
    assert code_version().startswith(f"{__version__} (")
    assert "dirty" not in code_version()
    code.write_text("changed = True")
    assert code_version().endswith("-dirty)")
