"""The trainer of tests: on the CPU, silent, without files of its own."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


def quiet_trainer(**changed: Any) -> pl.Trainer:
    """Make one; `changed` are options of the Trainer that win over the quiet ones."""
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**quiet | changed)
