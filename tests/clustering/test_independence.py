"""The package can be lifted out: it imports nothing else of wsseg, and either Lightning will do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ALONE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top, *rest = name.split(".")
        ours = top == "wsseg" and rest[:1] not in ([], ["clustering"], ["utils"])
        if ours or top in {"lightning", "monai"}:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Blocker())
import pkgutil
import wsseg.clustering
for module in pkgutil.iter_modules(wsseg.clustering.__path__):
    __import__("wsseg.clustering." + module.name)
assert "faiss" not in sys.modules
assert "wandb" not in sys.modules
"""

BOTH = """
import lightning.pytorch, pytorch_lightning
from wsseg.clustering import ClusterReSupervision
assert issubclass(ClusterReSupervision, lightning.pytorch.Callback)
assert issubclass(ClusterReSupervision, pytorch_lightning.Callback)
callback = ClusterReSupervision()
assert callback.on_train_start.__func__ is ClusterReSupervision.on_train_start
"""


def run(code: str, *paths: Path) -> None:
    path = os.pathsep.join(str(each) for each in (*paths, ROOT))
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_imports_nothing_else_and_faiss_lazily() -> None:
    run(ALONE)


def test_lifts_out_into_an_empty_project(tmp_path: Path) -> None:
    """Two folders are all that another project needs."""
    for part in ("clustering", "utils"):
        shutil.copytree(ROOT / "wsseg" / part, tmp_path / "wsseg" / part)
    project = (ROOT / "tests" / "clustering" / "foreign_project.py").read_text()
    code = f"{project}\nassert train({str(tmp_path)!r}, epochs=2)[1].clusters is not None\n"
    code = code.replace('if __name__ == "__main__":', "if False:")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, timeout=120, env=environment, cwd=tmp_path)


def test_is_a_callback_of_both_packages(tmp_path: Path) -> None:
    package = tmp_path / "lightning" / "pytorch"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("class Callback:\n    pass\n")
    run(BOTH, tmp_path)
