"""What is known of slices, and how they are loaded: in order, and nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from wsseg.clustering.slices import TrainingSlices
from wsseg.utils.errors import InputError


def test_depths_that_are_not_finite() -> None:
    depth = torch.tensor([0.0, 1.0, torch.nan, 2.0])
    dataset = Told(index=torch.arange(4), tags=torch.zeros(4, 1), depth=depth)
    with pytest.raises(InputError, match="`depth` holds NaN"):
        TrainingSlices(DataLoader(dataset))


def test_depth_of_another_kind() -> None:
    """As of a set of colour and depth images."""
    dataset = Told(index=torch.arange(4), tags=torch.zeros(4, 1), depth=torch.zeros(4, 8, 8))
    with pytest.raises(InputError, match=r"`depth` holds \(4, 8, 8\) numbers; .* another name"):
        TrainingSlices(DataLoader(dataset))


class Told(list[int]):
    """A data set that tells something of its slices."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__(range(4))
        for name, value in tensors.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("told", "known", "lies"),
    [
        ({"index": 4, "tags": 4, "case": 4, "depth": 4}, True, True),
        ({"index": 4, "tags": 4, "case": 4}, True, False),
        ({"index": 4, "tags": 4, "case": 9, "depth": 9}, True, False),
        ({"index": 4, "case": 4, "depth": 4}, False, False),
        ({"index": 9, "tags": 9}, False, False),
        ({"index": 4, "tags": 4, "case": 4, "depth": None}, True, False),
    ],
)
def test_what_a_data_set_tells(told: dict[str, int | None], known: bool, lies: bool) -> None:
    kinds = {"tags": torch.zeros(9, 1), "depth": torch.zeros(9)}
    numbers = torch.arange(9)
    dataset = Told(
        **{
            name: torch.tensor(3.0) if length is None else kinds.get(name, numbers)[:length]
            for name, length in told.items()
        }
    )
    found = TrainingSlices(DataLoader(dataset)).known
    assert (found is not None) == known
    assert (found is not None and found.case is not None and found.depth is not None) == lies


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"tags": torch.zeros(4)}, r"`tags` is \(4,\); make it \[N, C\]"),
        ({"index": torch.zeros(4)}, r"`index` is \(4,\) of torch\.float32"),
        ({"case": torch.zeros(4, 1).long()}, r"`case` is \(4, 1\)"),
        ({"level": torch.zeros(4)}, r"`level` is .* a whole number for each slice"),
    ],
)
def test_a_data_set_that_tells_nonsense(told: dict[str, torch.Tensor], message: str) -> None:
    dataset = Told(**{"index": torch.arange(4), "tags": torch.zeros(4, 1), **told})
    with pytest.raises(InputError, match=message):
        TrainingSlices(DataLoader(dataset))


def test_loader_is_sequential_and_uses_its_collation() -> None:
    calls = []

    def collate(items: list[int]) -> list[int]:
        calls.append(items)
        return items

    loader = DataLoader(range(10), batch_size=3, shuffle=True, collate_fn=collate)
    source = TrainingSlices(loader)
    assert list(source.batches([1, 2, 5, 8])) == [[1, 2, 5], [8]]
    assert list(source.batches([])) == []
    assert len(source) == 10


def test_workers_are_started_as_the_loader_starts_them() -> None:
    told = {"num_workers": 1, "multiprocessing_context": "spawn", "prefetch_factor": 7}
    loader = DataLoader(range(6), batch_size=2, **told)
    source = TrainingSlices(loader)
    assert [each.tolist() for each in source.batches([1, 3, 5])] == [[1, 3], [5]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("loader", [[1, 2], {"a": 1}, None])
def test_loaders_that_cannot_be_used(loader: object) -> None:
    with pytest.raises(InputError, match="dataloader="):
        TrainingSlices(loader)


class Stream(IterableDataset[int]):
    """Numbers that are read one after the other."""

    def __init__(self, count: int = 7) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


@pytest.mark.parametrize("workers", [0, 1])
def test_items_of_a_stream_are_its_batches(workers: int) -> None:
    source = TrainingSlices(DataLoader(Stream(), batch_size=2, num_workers=workers))
    assert (len(source), source.per_item, source.streamed) == (4, 2, True)
    assert [each.tolist() for each in source.batches([1, 3])] == [[2, 3], [6]]
    assert list(source.batches([])) == []
