"""Writes checkpoints so that a crash leaves the previous one whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from wsseg.utils.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and then renames it.

    Lightning stages in the folder for temporary files, often another file system, from where the
    last step is a copy: a crash during it would destroy the previous ``last.ckpt``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; Lightning writes one that goes to an address."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(Path(path)) as part:
            torch.save(checkpoint, part)
