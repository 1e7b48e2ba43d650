"""Checkpoints: ``saving``, ``loading``, and ``checks`` against a run's data and settings.

This file imports no torch: those who need only the name of a file get it at once.
"""

LAST_CHECKPOINT = "last.ckpt"
"""The file in a run's folder from which the run is resumed, scored and used for prediction."""

CONFIG_FILE = "config.yaml"
"""The file beside it with all settings of the training."""
