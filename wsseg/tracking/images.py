"""One way to log a picture, whichever logger a run has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def add_image(
    logger: Any, name: str, image: NDArray[np.uint8], step: int | None = None
) -> Path | None:
    """Give a picture to a logger, or write it beside the logs of one that takes no pictures.

    Loggers are told apart by what they can do, so that those of both Lightning packages, and
    other people's, work: Weights & Biases has ``log_image``, TensorBoard a writer with
    ``add_image``. For the rest (CSV) the picture becomes ``figures/<name>-<step>.png``.

    Args:
        logger: A Lightning logger.
        name: Name of the picture; a slash makes a group.
        image: [H, W, 3] ``uint8``.
        step: Training step that the picture belongs to.

    Returns:
        The file, if one was written.
    """
    if callable(getattr(logger, "log_image", None)):
        # Lightning logs the step as a metric; wandb's own step counter must not be touched.
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
