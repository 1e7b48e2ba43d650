"""Checkpoints: saving, loading, and checks against the data and settings of a run.

This file does not import torch, so that the names of files are available without delay.
"""

LAST_CHECKPOINT = "last.ckpt"
"""The checkpoint in a run's folder, from which the run is resumed, scored and used to predict."""

CONFIG_FILE = "config.yaml"
"""The file in a run's folder that holds all settings of the training."""
