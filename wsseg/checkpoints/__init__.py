"""Checkpoints: ``loading`` reads them, ``checks`` compares them with a run's data and settings.

This file imports no torch: those who need only the name of a file get it at once.
"""

LAST_CHECKPOINT = "last.ckpt"
"""The file in a run's folder from which the run is resumed, scored and used for prediction."""
