"""Thresholds, resizing and the one-byte form."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.utils.map_file import decode, encode
from wsseg.utils.targets import IGNORE, resize, to_targets


@given(st.lists(st.one_of(st.floats(0, 1), st.just(IGNORE)), min_size=1))
def test_a_byte_holds_a_value(values: list[float]) -> None:
    exact = torch.tensor(values)
    assert torch.allclose(decode(encode(exact)), exact, atol=1 / 508 + 1e-6)
    assert torch.equal(decode(encode(exact)) == IGNORE, exact == IGNORE)
    assert torch.equal(encode(decode(encode(exact))), encode(exact))


def test_what_was_never_written_is_ignored() -> None:
    assert float(decode(torch.zeros(1, dtype=torch.uint8))) == IGNORE


def test_thresholds() -> None:
    relevance = torch.tensor([0.0, 0.4, 0.5, 0.6, 1.0, IGNORE])
    hard = torch.tensor([0.0, 0.0, IGNORE, IGNORE, 1.0, IGNORE])
    assert torch.equal(to_targets(relevance, 0.4, 0.6), hard)


def test_resizing_keeps_unknown_pixels_out() -> None:
    relevance = torch.full((1, 1, 4, 4), 0.8)
    relevance[..., 2:] = IGNORE
    found = resize(relevance, 8, 8)
    assert torch.allclose(found[..., :4], torch.tensor(0.8))
    assert bool((found[..., 4:] == IGNORE).all())
    assert resize(relevance, 4, 4) is relevance
