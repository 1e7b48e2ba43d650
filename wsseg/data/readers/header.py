"""What is known of an image before its pixels are read, whatever the format of its file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import nibabel as nib

Shape3 = tuple[int, int, int]

COLOURS = ("red", "green", "blue")
# Columns of a picture run to the patient's left and rows to posterior, as axial slices are shown.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
FEATURE = re.compile(r"cell(\d+)_\d+")  # name of a channel of a grid: pixels of a cell, and number


class Grid(NamedTuple):
    """How the cells of a picture that was compressed to a grid of features lie on its pixels.

    Attributes:
        cell: Pixels to a side of a cell.
        rows: Height of the picture in pixels.
        columns: Width of the picture in pixels.
        source: SHA-256 of the picture's file.
    """

    cell: int
    rows: int
    columns: int
    source: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in cells, the last of which may reach beyond the picture."""
        return -(-self.rows // self.cell), -(-self.columns // self.cell)

    def names(self, channels: int) -> tuple[str, ...]:
        """Return the names of the channels: the mean colour of each cell, and its features.

        Example:
            >>> Grid(16, 4096, 4096, "").names(5)
            ('red', 'green', 'blue', 'cell16_0', 'cell16_1')
        """
        features = channels - len(COLOURS)
        return (*COLOURS, *(f"cell{self.cell}_{number}" for number in range(features)))

    @classmethod
    def from_description(cls, text: str) -> Grid | None:
        """Return the grid that the description of a TIFF names; None if it names none."""
        try:
            plain = json.loads(text)["wsseg_grid"]
            cell, rows, columns, source = plain
        except (ValueError, TypeError, KeyError):
            return None
        return cls(int(cell), int(rows), int(columns), str(source))

    def to_description(self) -> str:
        """Return what :meth:`from_description` reads."""
        return json.dumps({"wsseg_grid": list(self)})


@dataclass(frozen=True, eq=False)
class Header:
    """Where the voxels of an image lie, and what its channels are.

    A picture is a volume of one plane: X counts its columns from the left and Y its rows from the
    top, so that its axial slice shows it upright.

    Attributes:
        shape: Number of voxels along each axis of the array, X, Y and Z.
        affine: [4, 4], from voxels to RAS+ millimetres; of a picture, to pixels.
        channels: Number of channels.
        unit: Of lengths: "mm", or "px" where the file tells no physical size.
        names: Of the channels: red, green and blue of a colour image, these and the features of a
            grid, nothing of others.
        nifti: The header of a NIfTI file, which masks on its voxels keep.
        grid: Of which picture it is the compressed grid, if it is one.

    Example:
        >>> header = Header((640, 480, 1), PICTURE_AFFINE, 3, "px", COLOURS)
        >>> header.is_picture, header.names
        (True, ('red', 'green', 'blue'))
    """

    shape: Shape3
    affine: NDArray[np.float64]
    channels: int = 1
    unit: Literal["mm", "px"] = "mm"
    names: tuple[str, ...] = ()
    nifti: nib.Nifti1Header | None = None
    grid: Grid | None = None

    @property
    def is_picture(self) -> bool:
        """Whether it is one plane of unknown physical size."""
        return self.unit == "px" and self.shape[2] == 1
