"""Which parts of an embedding every clustering sees."""

from __future__ import annotations

import torch

from wsseg.clustering.columns import SHARE, Columns


def test_views_take_turns() -> None:
    shown = Columns(features=3, asymmetry=2, deviation=1).shown(6)
    assert shown[:, :3].all()
    assert shown[:, 3:5].all(dim=1).tolist() == [False, True] * 3
    assert shown[:, 5].tolist() == [False, False, True, True, False, False]


def test_without_asymmetry_none_sees_any() -> None:
    columns = Columns(features=3, deviation=2)
    assert not columns.sees_asymmetry(4).any()
    assert columns.shown(4).shape == (4, 5)


def test_the_deviation_weighs_the_same_however_many_columns_it_has() -> None:
    for deviation in (1, 2, 8):
        weights = Columns(features=16, asymmetry=2, deviation=deviation).weights()
        assert weights[:18].eq(1).all()
        torch.testing.assert_close(weights[18:].square().sum(), torch.tensor(16 * SHARE))
    assert Columns(features=4).weights().tolist() == [1.0] * 4
