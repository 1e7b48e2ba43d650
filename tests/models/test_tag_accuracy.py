from __future__ import annotations

import torch
from torchmetrics.functional.classification import binary_accuracy

from wsseg.models.tag_accuracy import TagAccuracy


def test_it_is_the_share_of_right_tags_in_all_slices() -> None:
    draw = torch.Generator().manual_seed(0)
    probability = torch.rand(12, 3, generator=draw)
    tags = torch.randint(2, (12, 3), generator=draw).float()
    metric, order = TagAccuracy(), torch.randperm(12, generator=draw)
    for rows in order.split(5):
        metric.update(probability[rows], tags[rows], rows)
    assert torch.isclose(metric.compute(), binary_accuracy(probability, tags.int()))


def test_slices_that_a_sampler_repeats_count_once() -> None:
    metric = TagAccuracy()
    metric.update(torch.tensor([[0.9], [0.9]]), torch.tensor([[1.0], [0.0]]), torch.tensor([3, 7]))
    metric.update(torch.tensor([[0.9], [0.1]]), torch.tensor([[1.0], [0.0]]), torch.tensor([3, 8]))
    assert torch.isclose(metric.compute(), torch.tensor(2 / 3))


def test_without_slices_there_is_none() -> None:
    assert TagAccuracy().compute().isnan()


def test_unknown_tags_count_nothing() -> None:
    metric, nan = TagAccuracy(), torch.nan
    tags = torch.tensor([[1.0, nan], [nan, nan], [0.0, 1.0]])
    metric.update(torch.tensor([[0.9, 0.9], [0.9, 0.1], [0.9, 0.9]]), tags, torch.arange(3))
    assert metric.compute() == 0.75
