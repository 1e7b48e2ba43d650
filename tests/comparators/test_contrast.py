"""Contrast and the losses on labelled pixels, against versions that go one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tests.comparators.conftest import batch, small
from wsseg.comparators import AfterAccumulation
from wsseg.comparators.after_accumulation import (
    ENERGY_WIDTH,
    NEIGHBOURS,
    balanced_entropy,
    neighbour_energy,
    pixel_contrast,
    pixel_labels,
    residual_attention,
)
from wsseg.comparators.contrast import CONTRAST_TEMPERATURE, draw_pixels, supervised_contrast
from wsseg.data.augmentation import SliceAugmentation


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_contrast_is_the_mean_over_all_pairs_of_a_label() -> None:
    points, label = torch.randn(7, 4, generator=seeded()), torch.tensor([0, 1, 0, 0, 1, 2, 0])
    counts = torch.tensor([True, True, True, True, True, True, False])
    losses = []
    for i in range(6):
        partners = [j for j in range(6) if j != i and label[j] == label[i]]
        if partners:
            score = [
                math.exp(F.cosine_similarity(points[i], points[j], dim=0) / CONTRAST_TEMPERATURE)
                for j in range(6)
            ]
            rest = sum(score) - score[i]
            losses.append(-sum(math.log(score[j] / rest) for j in partners) / len(partners))
    got = supervised_contrast(points, label, counts)
    assert float(got) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert supervised_contrast(points, label, torch.zeros(7, dtype=torch.bool)) == 0


def test_pixels_are_drawn_where_they_are_wanted() -> None:
    features = torch.arange(16.0).view(1, 1, 4, 4)
    wanted = features[:, 0] < 3
    points, counts = draw_pixels(features, wanted, 6)
    assert sorted(points[counts].flatten().tolist()) == [0, 1, 2]
    assert counts.sum() == 3
    features, target = torch.eye(4).view(1, 4, 2, 2), torch.tensor([[[[1.0, 1.0], [0.0, -1.0]]]])
    assert pixel_contrast(features, target) == pytest.approx(math.log(2))  # all are orthogonal


def test_energy_is_of_neighbours_that_look_alike() -> None:
    p = torch.rand(1, 1, 6, 7, generator=seeded())
    image = torch.randn(1, 2, 6, 7, generator=seeded())
    valid = torch.rand(1, 6, 7, generator=seeded()) < 0.8
    energies = []
    for down, right in NEIGHBOURS:
        for y in range(6 - down):
            for x in range(7):
                there = y + down, x + right
                if 0 <= x + right < 7 and valid[0, y, x] and valid[0, *there]:
                    gap = ((image[0, :, y, x] - image[0, :, *there]) ** 2).mean()
                    one, other = p[0, 0, y, x], p[0, 0, *there]
                    apart = one * (1 - other) + other * (1 - one)
                    energies.append(float(apart * torch.exp(-gap / (2 * ENERGY_WIDTH**2))))
    got = neighbour_energy(p, image, valid)
    assert float(got) == pytest.approx(sum(energies) / len(energies), rel=1e-5)


def test_residual_attention_adds_the_place_where_the_class_is_most_visible() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=seeded())
    valid = torch.rand(2, 4, 5, generator=seeded()) < 0.7
    got = residual_attention(logits, valid, 0.3)
    for b in range(2):
        for c in range(3):
            inside = logits[b, c][valid[b]]
            expected = inside.mean() + 0.3 * (inside.softmax(0) * inside).sum()
            torch.testing.assert_close(got[b, c], expected)
    assert (residual_attention(logits, torch.zeros_like(valid), 0.3) == 0).all()


def test_untagged_slices_are_empty_and_blank_maps_say_nothing() -> None:
    maps = torch.tensor([0.0, 0.3, 0.9]).repeat(3, 1).view(3, 1, 1, 3)
    maps[2] = 0
    valid = torch.ones(3, 1, 3, dtype=torch.bool)
    valid[:, :, 0] = False
    labels = pixel_labels(maps, valid, torch.tensor([[1.0], [0.0], [1.0]]))[:, 0, 0]
    assert labels.tolist() == [[-1, -1, 1], [-1, 0, 0], [-1, -1, -1]]


def test_the_attention_of_all_epochs_labels_a_slice_and_moves_with_it() -> None:
    module, epochs = small(AfterAccumulation), torch.rand(3, 2, 2, 4, 4, generator=seeded())
    assert isinstance(module, AfterAccumulation)
    module._accumulate(epochs[0], [7, 9])
    module._accumulate(epochs[1].flip(0), [9, 7])
    got = module._accumulate(epochs[2], [7, 9])
    torch.testing.assert_close(got, epochs.mean(dim=0), atol=2e-3, rtol=0)

    module.augmentation = SliceAugmentation(1, *[0.0] * 6)  # mirror images
    given = batch()
    with torch.no_grad():
        _, attention = module.teacher.module(given["image"], given["valid"])
    expected = pixel_labels(attention, given["valid"], given["tags"]).flip(-1)
    assert torch.equal(module.augment(given)["target"], expected)


def test_entropy_weighs_both_labels_alike() -> None:
    logits = torch.randn(2, 1, 4, 4, generator=seeded())
    target = torch.full((2, 1, 4, 4), -1.0)
    target[0, 0, 0, 0], target[1, 0, 2:] = 1.0, 0.0
    outside = -torch.log(1 - logits[1, 0, 2:].sigmoid()).mean()
    expected = (-torch.log(logits[0, 0, 0, 0].sigmoid()) + outside) / 2
    torch.testing.assert_close(balanced_entropy(logits, target), expected)
