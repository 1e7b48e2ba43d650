"""Writes checkpoints so that a crash does not damage the previous one."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from wsseg.utils.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and then renames it.

    Lightning first writes to the system's temporary folder. If that is another file system, the
    file is then copied, and a crash during the copy would destroy the previous ``last.ckpt``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; if the path is an address, leave it to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(Path(path)) as part:
            try:
                torch.save(checkpoint, part)
            except RuntimeError as error:
                if "PytorchStreamWriter" not in str(error):
                    raise
                problem = "cannot be written"  # the reason is not known, such as a quota
                raise OSError(errno.EIO, problem, str(path)) from error
