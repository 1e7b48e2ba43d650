"""Compiled networks learn the same and leave ordinary checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.cli.test_cli import CLUSTERING, SMALL
from tests.data.conftest import write_store
from wsseg.checkpoints.loading import load_module
from wsseg.cli import main

COMPILED = [
    "--trainer.callbacks+=CompileNetworks",
    "--trainer.callbacks.backend=aot_eager",  # all but the C++ compiler
]


def test_a_compiled_run_ends_as_a_plain_one(tmp_path: Path) -> None:
    store, images = write_store(tmp_path / "store", size=16), torch.randn(2, 2, 16, 16)
    found = []
    for name, more in (("plain", []), ("compiled", COMPILED)):
        run = tmp_path / name
        where = [f"--data.root={store}", f"--trainer.default_root_dir={run}"]
        settings = ["--trainer.max_epochs=2", "--seed_everything=0"]
        assert main(["fit", *where, *SMALL, *settings, *CLUSTERING, *more]) == 0
        module = load_module(run / "last.ckpt")
        found.append(module(images, torch.ones(2, 16, 16, dtype=torch.bool)))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
