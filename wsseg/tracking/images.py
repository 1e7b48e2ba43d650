"""Logs pictures with any logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def add_image(
    logger: Any, name: str, image: NDArray[np.uint8], step: int | None = None
) -> Path | None:
    """Log a picture, or write it to a file if the logger cannot log pictures.

    Loggers are distinguished by their methods, so that those of both Lightning packages and of
    others work: the one of Weights & Biases has ``log_image``, and that of TensorBoard a writer
    with ``add_image``. For others (CSV) a file ``figures/<name>-<step>.png`` is written.

    Args:
        logger: A Lightning logger.
        name: Name of the picture, after its group and a slash.
        image: [H, W, 3] ``uint8``.
        step: Training step that the picture belongs to.

    Returns:
        The file, if one was written.

    Example:
        >>> from types import SimpleNamespace
        >>> logger = SimpleNamespace(log_image=lambda name, images, step: print(name, step))
        >>> add_image(logger, "overlays/train", np.zeros((8, 8, 3), np.uint8), step=100)
        overlays/train 100
    """
    if callable(getattr(logger, "log_image", None)):
        # Lightning logs the step as a metric, and leaves the step counter of wandb alone.
        logger.log_image(name, [image], step=step)
        return None
    writer = logger.experiment
    if callable(getattr(writer, "add_image", None)):
        writer.add_image(name, image, step, dataformats="HWC")
        return None
    return write_figure(Path(logger.log_dir or logger.save_dir or "."), name, image, step)


def write_figure(
    folder: Path, name: str, image: NDArray[np.uint8], step: int | None = None
) -> Path:
    """Write a picture to ``<folder>/figures/<name>-<step>.png``.

    Args:
        folder: Folder of the run.
        name: Name of the picture; slashes become dashes.
        image: [H, W, 3] ``uint8``.
        step: Training step that the picture belongs to.

    Returns:
        The file.
    """
    from wsseg.visualisation.sheet import save_png

    suffix = "" if step is None else f"-{step:06d}"
    return save_png(image, folder / "figures" / f"{name.replace('/', '-')}{suffix}.png")
