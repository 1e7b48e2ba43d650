"""Label maps and probabilities of pictures as PNG files, on the picture's own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.utils.files import replacing


def save_plane(volume: NDArray[Any], path: Path) -> Path:
    """Write the only plane of a volume as a grey PNG, whole or not at all.

    The values are stored as they are. They have no palette, since ITK, OpenCV and others would read
    the colours of a palette in their place.

    Args:
        volume: [X, Y, 1] of 8 or 16 bits, X from the left and Y from the top.
        path: File to write, ending in ``.png``.

    Returns:
        The path.

    Example:
        >>> path = save_plane(np.uint8([[[0], [4]]]), Path(getfixture("tmp_path")) / "mask.png")
        >>> from PIL import Image
        >>> np.asarray(Image.open(path)).tolist()
        [[0], [4]]
    """
    from PIL import Image

    with replacing(path) as part:
        Image.fromarray(np.ascontiguousarray(volume[..., 0].T)).save(part, format="PNG")
    return path
