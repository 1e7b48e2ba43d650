"""What the README shows works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml

from wsseg.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_callback_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code)
    subprocess.run(
        [sys.executable, str(script)], check=True, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}
    )


def test_the_datalist_example_is_prepared(tmp_path: Path) -> None:
    """The files that it names, made of noise; one case with tags only, one with a mask."""
    (datalist,) = re.findall(r"```yaml\n(modalities.*?)```", README, re.DOTALL)
    (header,) = re.findall(r"```\n(slice,.*?)\n", README)
    (tmp_path / "cases.yaml").write_text(datalist)
    cases = yaml.safe_load(datalist)["cases"]
    noise = np.random.default_rng(0)
    for case in cases:
        (tmp_path / case["id"]).mkdir()
        volumes = dict.fromkeys(case["images"].values(), noise.uniform(1, 2, (32, 32, 6)))
        if "mask" in case:
            volumes[case["mask"]] = np.arange(6) % 2 * np.ones((32, 32, 6))
        for name, volume in volumes.items():
            image = nib.Nifti1Image(volume.astype(np.float32), np.eye(4))
            nib.save(image, tmp_path / name)
        if "tags" in case:
            lines = [header, *(f"{number},{number % 2}" for number in range(6))]
            (tmp_path / case["tags"]).write_text("\n".join(lines))
    store = tmp_path / "store"
    more = ["--folds=2", "--workers=1"]
    assert main(["prepare", "datalist", str(tmp_path / "cases.yaml"), str(store), *more]) == 0
    manifest = json.loads((store / "manifest.json").read_text())
    assert [each["id"] for each in manifest["cases"]] == [case["id"] for case in cases]


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"experiments/[\w/]+\.ya?ml|\bwsseg/[a-z]+/", README):
        assert (REPOSITORY / name).exists(), name


def test_every_command_that_it_names_exists() -> None:
    from wsseg.cli.commands import COMMANDS

    named = set(re.findall(r"^wsseg (\w+)", README, re.MULTILINE))
    assert named <= set(COMMANDS)
    assert {"prepare", "fit", "test", "predict"} <= named
