"""Random fields: statistics, smoothness and independence of the voxel size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.phantom.noise import FIELD_OF_VIEW, Grid, smooth_noise, soft_step


@pytest.mark.parametrize("scale", [4.0, 9.0, 25.0])
def test_noise_has_zero_mean_and_unit_variance(scale: float) -> None:
    fields = [smooth_noise(Grid(8.0), scale, np.random.default_rng(n)) for n in range(30)]
    corners = np.stack([field[::7, ::7, ::7].ravel() for field in fields])
    assert abs(corners.mean()) < 0.1
    assert corners.std() == pytest.approx(1, abs=0.1)


def test_noise_is_as_smooth_as_asked() -> None:
    field = smooth_noise(Grid(4.0), 12.0, np.random.default_rng(0))
    lag = np.corrcoef(field[:-3].ravel(), field[3:].ravel())[0, 1]
    # Two kernels of standard deviation s overlap as exp(-(lag / 2s)^2).
    assert lag == pytest.approx(np.exp(-((12 / 24) ** 2)), abs=0.06)


def test_the_field_does_not_depend_on_the_voxel_size() -> None:
    coarse = smooth_noise(Grid(8.0), 20.0, np.random.default_rng(3))
    fine = smooth_noise(Grid(4.0), 20.0, np.random.default_rng(3))
    blocks = fine.reshape(24, 2, 28, 2, 23, 2).mean((1, 3, 5))  # two fine voxels make a coarse one
    np.testing.assert_allclose(blocks, coarse, atol=0.05)


@settings(max_examples=25, deadline=None)
@given(spacing=st.floats(0.5, 8))
def test_grid_covers_the_field_of_view_about_its_centre(spacing: float) -> None:
    grid = Grid(spacing)
    for axis, length, count in zip(grid.axes, FIELD_OF_VIEW, grid.shape, strict=True):
        assert axis.size == count
        assert length <= count * spacing < length + spacing + 1e-6
    first = grid.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(first[:3], [axis.min() for axis in grid.axes], rtol=1e-6)


def test_soft_step_is_a_step() -> None:
    value = soft_step(np.array([-1e6, -1.0, 0.0, 1.0, 1e6], dtype=np.float32), 0.5)
    assert value[0] == pytest.approx(0, abs=1e-6)
    assert value[2] == 0.5
    assert value[4] == pytest.approx(1)
    assert np.all(np.diff(value) > 0)
