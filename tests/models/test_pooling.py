from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.models.pooling import top_mean


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_top_mean_is_the_mean_of_the_highest_valid_pixels(seed: int, fraction: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 6, 5, generator=generator)
    valid = torch.rand(2, 6, 5, generator=generator) < 0.7
    valid[:, 0, 0] = True
    pooled = top_mean(maps, valid, fraction)
    count = max(1, round(fraction * 30))
    for b in range(2):
        for c in range(3):
            pixels = np.sort(maps[b, c][valid[b]].numpy())[::-1][:count]
            np.testing.assert_allclose(pooled[b, c], pixels.mean(), rtol=1e-5, atol=1e-6)


def test_top_mean_of_a_slice_without_anatomy_is_zero() -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert top_mean(torch.randn(1, 1, 4, 4), empty, 0.5).item() == 0
