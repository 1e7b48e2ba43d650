"""The box around what is imaged, whatever the layout in memory."""

from __future__ import annotations

import numpy as np
import pytest

from wsseg.data.planes import box_of


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7, 8, 9), (7, 8, 1), (1, 8, 9), (7, 1, 9), (1, 1, 1), (7, 1)])
def test_box(shape: tuple[int, ...], order: str) -> None:
    """Volumes of one slice are laid out both ways at once."""
    occupied = np.zeros(shape, bool, order=order)  # type: ignore[call-overload]
    assert box_of(occupied) == tuple(slice(0, n) for n in shape)
    box = tuple(slice(n // 2, n // 2 + 1) for n in shape)
    occupied[box] = True
    assert box_of(occupied) == box
