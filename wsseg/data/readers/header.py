"""What is known of an image before its pixels are read, whatever the format of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import nibabel as nib

Shape3 = tuple[int, int, int]

COLOURS = ("red", "green", "blue")
# Columns of a picture run to the patient's left and rows to posterior, as axial slices are shown.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


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
        names: Of the channels: red, green and blue of a colour image, nothing of others.
        nifti: The header of a NIfTI file, which masks on its voxels keep.

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

    @property
    def is_picture(self) -> bool:
        """Whether it is one plane of unknown physical size."""
        return self.unit == "px" and self.shape[2] == 1
