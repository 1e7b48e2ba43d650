from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from wsseg.clustering.samplers import drawn_positions

SLICES = torch.arange(10)


class Mine(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(5))

    def __len__(self) -> int:
        return 5


def processes(sampler: Any) -> Any:
    """What Lightning makes of a sampler for two processes."""
    return DistributedSamplerWrapper(sampler, num_replicas=2, rank=0)


@pytest.mark.parametrize(
    ("loading", "expected"),
    [
        ({}, range(10)),
        ({"shuffle": True}, range(10)),
        ({"sampler": RandomSampler(SLICES, num_samples=3)}, range(10)),  # type: ignore[arg-type]
        ({"sampler": DistributedSampler(SLICES, 2, 0)}, range(10)),  # type: ignore[arg-type, var-annotated]
        ({"sampler": SubsetRandomSampler([7, 1, 4])}, [1, 4, 7]),
        ({"sampler": SubsetRandomSampler(torch.tensor([7, 1]))}, [1, 7]),  # type: ignore[arg-type]
        ({"sampler": processes(SubsetRandomSampler([7, 1, 4]))}, [1, 4, 7]),
        ({"sampler": WeightedRandomSampler([0, 2, 0, 1], 9)}, [1, 3]),
        ({"sampler": [8, 2, 2]}, [2, 8]),
        ({"batch_sampler": [[5, 6], [0]]}, [0, 5, 6]),
        ({"batch_sampler": BatchSampler(SubsetRandomSampler([3, 2]), 2, False)}, [2, 3]),
        ({"batch_size": None, "sampler": SubsetRandomSampler([3, 2])}, [2, 3]),
    ],
)
def test_samplers_that_tell(loading: dict[str, Any], expected: list[int] | range) -> None:
    loader: DataLoader[Any] = DataLoader(SLICES, **loading)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(drawn_positions(loader, 10)) == list(expected)


class Batches(BatchSampler):
    """Has nothing of its base class but the name."""

    def __init__(self) -> None:
        pass

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0, 1]])

    def __len__(self) -> int:
        return 1


def test_a_batch_sampler_without_a_sampler() -> None:
    loader: DataLoader[Any] = DataLoader(SLICES, batch_sampler=Batches())  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="since Batches does not tell which of them it draws"):
        assert drawn_positions(loader, 10) == range(10)


@pytest.mark.parametrize(
    "loading",
    [
        {"sampler": Mine()},
        {"sampler": processes(Mine())},
        {"batch_sampler": BatchSampler(Mine(), 2, False)},
    ],
)
def test_a_sampler_of_ones_own_is_named(loading: dict[str, Any]) -> None:
    loader: DataLoader[Any] = DataLoader(SLICES, **loading)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="from all 10 slices of the data set, since Mine does not"):
        assert drawn_positions(loader, 10) == range(10)
