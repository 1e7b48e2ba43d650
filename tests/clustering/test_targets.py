"""Consensus, thresholds and the one-byte form."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from wsseg.clustering.targets import (
    IGNORE,
    blend,
    consensus,
    decode,
    encode,
    relevance_map,
    resize,
    smooth,
    to_targets,
)


def test_consensus_is_the_mean_over_clusterings() -> None:
    scores = torch.rand(3, 4, 2)
    labels = torch.randint(4, (10, 3))
    expected = [sum(scores[r, row[r]] for r in range(3)) / 3 for row in labels]
    assert torch.allclose(consensus(labels, scores), torch.stack(expected))


def test_tags_overrule_clusters_and_invalid_pixels_are_ignored() -> None:
    labels = torch.zeros(2, 3, 3, 1, dtype=torch.int64)
    valid = torch.ones(2, 3, 3, dtype=torch.bool)
    valid[:, 0] = False
    tags = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = relevance_map(labels, valid, torch.ones(1, 1, 2), tags)
    assert bool((found[0, 0, 1:] == 1).all())
    assert bool((found[0, 0, 0] == IGNORE).all())
    assert not found[0, 1].any()
    assert not found[1].any()


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
    soft = torch.tensor([0.0, 0.4, IGNORE, IGNORE, 1.0, IGNORE])
    assert torch.equal(to_targets(relevance, 0.4, 0.6, soft=True), soft)


def test_blending_needs_both() -> None:
    new, old = torch.tensor([1.0, 1.0, IGNORE]), torch.tensor([0.0, IGNORE, 1.0])
    assert torch.equal(blend(new, old, 0.25), torch.tensor([0.75, 1.0, IGNORE]))


def test_resizing_keeps_unknown_pixels_out() -> None:
    relevance = torch.full((1, 1, 4, 4), 0.8)
    relevance[..., 2:] = IGNORE
    found = resize(relevance, 8, 8)
    assert torch.allclose(found[..., :4], torch.tensor(0.8))
    assert bool((found[..., 4:] == IGNORE).all())
    assert resize(relevance, 4, 4) is relevance


@given(seed=st.integers(0, 1000), sigma=st.floats(0.3, 3.0))
def test_smoothing_is_the_weighted_mean_of_known_pixels(seed: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(1, 1, 9, 8, generator=generator)
    maps[torch.rand(maps.shape, generator=generator) < 0.3] = IGNORE
    found, known = smooth(maps, sigma).numpy(), maps.numpy() >= 0
    assert (found[~known] == IGNORE).all()
    widths, radius = (0, 0, sigma, sigma), max(1, math.ceil(3 * sigma))

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values.astype(float), widths, mode="constant", radius=radius)

    expected = blur(np.where(known, maps.numpy(), 0.0)) / np.maximum(blur(known), 1e-12)
    np.testing.assert_allclose(found[known], expected[known], atol=1e-5)
    assert torch.equal(smooth(maps, 0.0), maps)
