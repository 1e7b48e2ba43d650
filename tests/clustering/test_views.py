"""What every clustering sees, and how much it weighs."""

from __future__ import annotations

import pytest
import torch

from wsseg.clustering import Asymmetry, Deviation, PixelEmbeddings
from wsseg.clustering.views import View, column_maps, column_weights, seen_by, seen_columns
from wsseg.utils.errors import InputError


def test_views_take_turns() -> None:
    shown = seen_columns([Asymmetry(), Deviation()], [3, 2, 1], 6)
    assert shown[:, :3].all()
    assert shown[:, 3:5].all(dim=1).tolist() == [False, True] * 3
    assert shown[:, 5].tolist() == [False, False, True, True, False, False]


def test_without_views_all_see_the_features() -> None:
    assert seen_by([], 4).shape == (0, 4)
    assert seen_columns([], [3], 4).all()
    assert column_weights([], [3]).tolist() == [1.0] * 3


def test_the_deviation_weighs_the_same_however_many_columns_it_has() -> None:
    share = Deviation.share
    assert share is not None
    for width in (1, 2, 8):
        weights = column_weights([Asymmetry(), Deviation()], [16, 2, width])
        assert weights[:18].eq(1).all()
        torch.testing.assert_close(weights[18:].square().sum(), torch.tensor(16 * share))


def plain_slices() -> PixelEmbeddings:
    """Two slices without an image."""
    return PixelEmbeddings(
        features=torch.rand(2, 3, 8, 8),
        activation=None,
        valid=torch.ones(2, 8, 8, dtype=torch.bool),
        tags=torch.ones(2, 1),
        index=torch.arange(2),
    )


class Constant(View):
    """Returns a given tensor."""

    def __init__(self, columns: torch.Tensor) -> None:
        self.given = columns

    def columns(self, slices: PixelEmbeddings, learned: torch.Tensor) -> torch.Tensor:
        return self.given


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 16, 16), (1, 1, 8, 8), (2, 8, 8, 1)])
def test_columns_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"Constant: columns\(\) returned .* \(2, E, 8, 8\)"):
        column_maps(plain_slices(), [Constant(torch.zeros(shape))], [torch.empty(0)])


@pytest.mark.parametrize("view", [Asymmetry(), Deviation()])
def test_a_view_without_an_image_says_so(view: View) -> None:
    with pytest.raises(InputError, match=f"{type(view).__name__}: embed_pixels gives no `image`"):
        column_maps(plain_slices(), [view], [torch.empty(0, 0, 0, 0)])
