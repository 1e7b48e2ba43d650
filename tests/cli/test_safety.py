"""A checkpoint from a stranger brings no code, whatever a configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.data.conftest import write_store
from wsseg.cli import main

ALIASES = "b0: &a0 x\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_no_checkpoint_runs_code(tmp_path: Path, command: str, address: str) -> None:
    store = write_store(tmp_path / "store", size=16)
    harm, checkpoint = tmp_path / "harm", tmp_path / "stranger.ckpt"
    content = {"state_dict": {}, "hyper_parameters": {}, "callbacks": Malicious(harm)}
    torch.save(content, checkpoint)
    config = tmp_path / "stranger.yaml"
    config.write_text("weights_only: false\n")
    arguments = [f"--config={config}", f"--data.root={store}", "--trainer.accelerator=cpu"]
    arguments += [f"--trainer.default_root_dir={tmp_path / 'run'}", "--trainer.logger=false"]
    assert main([command, *arguments, f"--ckpt_path={address.format(checkpoint)}"]) == 2
    assert not harm.exists()
