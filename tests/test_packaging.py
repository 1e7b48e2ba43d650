"""The wheel and the files around it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_the_package_and_its_command(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=REPOSITORY, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "wsseg = wsseg.cli:main" in archive.read(entry).decode()
    ours = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "wsseg").rglob("*.py")}
    assert ours | {"wsseg/py.typed"} <= set(names)
    assert not any(name.startswith(("tests/", "experiments/")) for name in names)


def test_every_lower_bound_says_why() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    block = text.split("dependencies = [", 1)[1].split("]\n", 1)[0]
    for line in block.strip().splitlines():
        assert re.search(r'",\s+# \S', line), line


def test_faiss_is_an_extra_of_one_wheel_each() -> None:
    assert not any("faiss" in each for each in PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    for name in ("cpu", "gpu", "gpu-cu12"):
        assert len([each for each in extras[name] if each.startswith("faiss")]) == 1


def test_constraints_pin_every_direct_dependency() -> None:
    pins = (REPOSITORY / "constraints.txt").read_text().lower()
    assert "torch==2.13.0" in pins
    for requirement in PROJECT["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert re.search(rf"^{name.group().lower()}==", pins, re.MULTILINE), requirement


def test_the_top_level_stays_what_it_is() -> None:
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode:  # a source archive without git
        return
    allowed = {"LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml"}
    folders = {"experiments", "tests", "wsseg"}
    shown = {name for name in listed.stdout.split() if not name.startswith(".")}
    assert shown <= allowed | folders
