"""Anatomy is found, plane by plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes

from wsseg.data.anatomy import find_anatomy


@given(arrays(bool, (7, 6, 3)))
def test_holes_are_filled_in_every_plane(occupied: np.ndarray) -> None:
    occupied[0, 0, :] = occupied[-1, -1, :] = True  # the box is the whole volume
    anatomy = find_anatomy([occupied.astype(np.int16)], np.diag([-1.0, -1, 1, 1]), "axial", None)
    expected = np.stack([binary_fill_holes(plane) for plane in occupied.T])
    np.testing.assert_array_equal(anatomy.inside, expected)
