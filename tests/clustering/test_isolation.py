from __future__ import annotations

import torch
from torch import Tensor, nn

from wsseg.clustering.collective import Collective
from wsseg.clustering.isolation import common_buffers


class Second(Collective):
    """The second of two processes; the first one's tensors are all of ones."""

    rank, size = 1, 2

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        return torch.ones_like(tensor)


def test_running_statistics_are_those_of_the_first_process_for_a_while() -> None:
    module = nn.BatchNorm1d(3)
    module(torch.randn(8, 3))
    own = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with common_buffers(module, Second()):
        assert all(bool((buffer == 1).all()) for buffer in module.buffers())
    assert all(torch.equal(buffer, own[name]) for name, buffer in module.named_buffers())
