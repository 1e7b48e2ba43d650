"""A refresh leaves a training as it found it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from wsseg.utils.distributed import Collective
from wsseg.utils.isolation import common_buffers, evaluating, untouched_generators


class Second(Collective):
    """The second of two processes; the first one's tensors are all of ones."""

    rank, size = 1, 2

    def broadcast(self, tensor: Tensor) -> Tensor:
        return torch.ones_like(tensor)


def test_running_statistics_are_those_of_the_first_process_for_a_while() -> None:
    module = nn.BatchNorm1d(3)
    module(torch.randn(8, 3))
    own = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with common_buffers(module, Second()):
        assert all(bool((buffer == 1).all()) for buffer in module.buffers())
    assert all(torch.equal(buffer, own[name]) for name, buffer in module.named_buffers())


def test_evaluation_mode_is_undone_part_by_part() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1))
    module[1].eval()

    def fail() -> None:
        with evaluating(module):
            assert not any(part.training for part in module.modules())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [part.training for part in module.modules()] == [True, True, False]


def test_generators_are_given_back() -> None:
    def draw() -> tuple[float, float, float]:
        legacy = float(np.random.rand())  # noqa: NPY002 - what data sets still use
        return random.random(), legacy, float(torch.rand(()))

    pl.seed_everything(0, verbose=False)
    expected = draw()
    pl.seed_everything(0, verbose=False)
    with untouched_generators():
        draw()
    assert draw() == expected
