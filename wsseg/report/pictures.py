"""Pictures of the report, which stand in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsseg.data.spec import DataSpec
from wsseg.visualisation import panels
from wsseg.visualisation.panels import Picture

QUALITY = 82  # of WebP: differences to the original are hard to see, at a tenth of its size
WIDEST = 1400  # of a sheet, in pixels; it is shown in a column that is narrower


@dataclass(frozen=True)
class Figure:
    """A picture with what is said of it.

    Attributes:
        source: The picture itself, as an address that holds all of its bytes.
        width: Its width in pixels.
        height: Its height in pixels.
        caption: What stands below it, and is read out instead of it.
    """

    source: str
    width: int
    height: int
    caption: str = ""


def figure(picture: Picture, caption: str = "") -> Figure:
    """Make a figure of a picture.

    Args:
        picture: [h, w, 3] ``uint8``.
        caption: What stands below it.

    Example:
        >>> figure(np.zeros((4, 6, 3), np.uint8)).source[:23]
        'data:image/webp;base64,'
    """
    return _figure(Image.fromarray(picture), caption)


def figure_of_file(path: Path, caption: str = "") -> Figure:
    """Make a figure of a file, reduced to ``WIDEST``.

    Args:
        path: The file.
        caption: What stands below it.

    Raises:
        OSError: The file is no picture, or is damaged.
    """
    with Image.open(path) as image:
        image.load()
        image.thumbnail((WIDEST, 4 * WIDEST))
        return _figure(image.convert("RGB"), caption)


def _figure(image: Image.Image, caption: str) -> Figure:
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=QUALITY, method=4)
    source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Figure(source, image.width, image.height, caption)


@dataclass(frozen=True)
class Ground:
    """Draws slices of a data set as the ground on which masks lie.

    Attributes:
        spec: Of the data set.
        height: Of a picture, in pixels.
    """

    spec: DataSpec
    height: int

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        pixel = self.spec.pixel
        return 1.0 if pixel is None else pixel[0] / pixel[1]

    @property
    def modality(self) -> int:
        """The modality in which lesions show best, if it is known by its name; else the first."""
        return self.spec.flair or 0

    @property
    def heading(self) -> str:
        """What the ground is."""
        return "picture" if self.spec.in_colour else self.spec.modalities[self.modality]

    def box(self, valid: NDArray[np.bool_]) -> tuple[slice, slice]:
        """Return the part of slices [S, H, W] or [H, W] that is drawn."""
        if self.spec.in_colour:
            return slice(None), slice(None)
        return panels.valid_box(valid, aspect=self.aspect)

    def draw(
        self, image: NDArray[np.float32], valid: NDArray[np.bool_], box: tuple[slice, slice]
    ) -> Picture:
        """Draw a slice in its own colours, or in grey.

        Args:
            image: [M, H, W], normalised.
            valid: [H, W].
            box: The part to draw.
        """
        size = {"height": self.height, "aspect": self.aspect}
        if not self.spec.in_colour:
            return panels.grey(image[self.modality][box], valid[box], **size)  # type: ignore[arg-type]
        scales = self.spec.plan.scales
        planes = [
            plane[box] * scale.deviation + scale.mean
            for plane, scale in zip(image[:3], scales[:3], strict=True)
        ]
        colours = np.clip(np.stack(planes, axis=-1), 0, 255).round().astype(np.uint8)
        return panels.true_colour(colours, **size)  # type: ignore[arg-type]
