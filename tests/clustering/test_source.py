"""Passes over the slices: every slice once, a bounded sample, nothing disturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from wsseg.clustering.embeddings import PixelEmbeddings, check_embeddings, feature_pixels
from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.isolation import evaluating, untouched_generators
from wsseg.clustering.source import (
    EmbeddingSource,
    bodies,
    choose_slices,
    choose_untagged,
    occurrence,
    sample_rows,
    share,
    share_bodies,
)


def embeddings(batch: int = 3, classes: int = 2) -> PixelEmbeddings:
    return PixelEmbeddings(
        features=torch.randn(batch, 4, 5, 6),
        activation=torch.rand(batch, classes, 5, 6),
        valid=torch.rand(batch, 5, 6) > 0.3,
        tags=torch.ones(batch, classes),
        index=torch.arange(batch),
        group=torch.arange(batch),
        stratum=torch.arange(batch),
    )


@given(count=st.integers(0, 100), size=st.integers(1, 9))
def test_shares_are_disjoint_complete_and_even(count: int, size: int) -> None:
    shares = [share(count, rank, size) for rank in range(size)]
    assert [i for part in shares for i in part] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(sizes=st.lists(st.integers(1, 30), max_size=40), size=st.integers(1, 9))
def test_every_body_goes_to_one_process(sizes: list[int], size: int) -> None:
    whole = list(torch.arange(sum(sizes)).split(sizes)) if sizes else []
    shares = [share_bodies(whole, rank, size) for rank in range(size)]
    dealt = [body for part in shares for body in part]
    assert [body.tolist() for body in dealt] == [body.tolist() for body in whole]
    loads = [sum(len(body) for body in part) for part in shares]
    assert max(loads) <= sum(sizes) / size + max(sizes, default=0)


def test_bodies_are_in_order() -> None:
    group = torch.tensor([7, 3, 7, 3, 7, 9])
    depth = torch.tensor([2.0, 1.0, 0.5, 0.0, 9.0, 4.0])
    found = bodies(torch.tensor([0, 1, 2, 3, 5]), group, depth)
    assert [body.tolist() for body in found] == [[3, 1], [2, 0], [5]]
    assert bodies(torch.empty(0, dtype=torch.int64), group, depth) == []


def test_long_bodies_are_mapped_in_parts() -> None:
    found = bodies(torch.arange(300), torch.zeros(300), torch.arange(300.0))
    assert [len(body) for body in found] == [128, 128, 44]
    assert torch.equal(torch.cat(found), torch.arange(300))


def test_depths_that_are_not_finite() -> None:
    depth = torch.tensor([0.0, 1.0, torch.nan, 2.0])
    dataset = Told(index=torch.arange(4), tags=torch.zeros(4, 1), depth=depth)
    with pytest.raises(ClusteringError, match="`depth` holds NaN"):
        EmbeddingSource(DataLoader(dataset), lambda batch, **_: batch)  # type: ignore[arg-type]


def test_depth_of_another_kind() -> None:
    """As of a set of colour and depth images."""
    dataset = Told(index=torch.arange(4), tags=torch.zeros(4, 1), depth=torch.zeros(4, 8, 8))
    with pytest.raises(
        ClusteringError, match=r"`depth` holds \(4, 8, 8\) numbers; .* another name"
    ):
        EmbeddingSource(DataLoader(dataset), lambda batch, **_: batch)  # type: ignore[arg-type]


class Told(list[int]):
    """A data set that tells something of its slices."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__(range(4))
        for name, value in tensors.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("told", "known", "lies"),
    [
        ({"index": 4, "tags": 4, "group": 4, "depth": 4}, True, True),
        ({"index": 4, "tags": 4, "group": 4}, True, False),
        ({"index": 4, "tags": 4, "group": 9, "depth": 9}, True, False),
        ({"index": 4, "group": 4, "depth": 4}, False, False),
        ({"index": 9, "tags": 9}, False, False),
        ({"index": 4, "tags": 4, "group": 4, "depth": None}, True, False),
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
    found = EmbeddingSource(DataLoader(dataset), lambda batch, **_: batch).known  # type: ignore[arg-type]
    assert (found is not None) == known
    assert (found is not None and found.group is not None and found.depth is not None) == lies


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"tags": torch.zeros(4)}, r"`tags` is \(4,\); make it \[N, C\]"),
        ({"index": torch.zeros(4)}, r"`index` is \(4,\) of torch\.float32"),
        ({"group": torch.zeros(4, 1).long()}, r"`group` is \(4, 1\)"),
        ({"stratum": torch.zeros(4)}, r"`stratum` is .* a whole number for each slice"),
    ],
)
def test_a_data_set_that_tells_nonsense(told: dict[str, torch.Tensor], message: str) -> None:
    dataset = Told(**{"index": torch.arange(4), "tags": torch.zeros(4, 1), **told})
    with pytest.raises(ClusteringError, match=message):
        EmbeddingSource(DataLoader(dataset), lambda batch, **_: batch)  # type: ignore[arg-type]


@given(count=st.integers(1, 5000), most=st.integers(1, 600), seed=st.integers(0, 2**40))
def test_chosen_slices_are_bounded(count: int, most: int, seed: int) -> None:
    chosen = choose_slices(count, most, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, most)
    assert chosen[0] >= 0
    assert chosen[-1] < count


@given(kinds=st.lists(st.integers(0, 5), max_size=30))
def test_occurrences_are_counted(kinds: list[int]) -> None:
    expected = [kinds[: n + 1].count(kind) for n, kind in enumerate(kinds)]
    assert occurrence(torch.tensor(kinds, dtype=torch.int64)).tolist() == expected


@given(rare=st.integers(1, 40), most=st.integers(4, 90), seed=st.integers(0, 2**40))
def test_rare_tags_are_not_left_out(rare: int, most: int, seed: int) -> None:
    tags = torch.zeros(1000, 2)
    tags[:500, 0] = 1
    tags[:rare, 1] = 1  # nested in the first, as a core is in a tumour
    chosen = torch.tensor(choose_slices(1000, most, seed, tags))
    kinds = torch.bincount(tags[chosen].sum(dim=1).long(), minlength=3)
    fair = most // 3
    assert kinds[2] >= min(rare, fair)
    assert kinds[:2].min() >= fair


@given(most=st.integers(20, 60), seed=st.integers(0, 2**40))
def test_untagged_slices_come_from_where_tagged_ones_lie(most: int, seed: int) -> None:
    """Ten strata; lesions keep to the middle ones, where fewer slices are untagged."""
    stratum = torch.arange(10).repeat(20)
    case = torch.arange(200) // 10
    tags = ((stratum >= 4) & (stratum < 7) & (case < 14)).float()[:, None]
    chosen = torch.tensor(choose_slices(200, most, seed, tags, stratum))
    tagged = tags[chosen, 0] > 0
    assert abs(int(tagged.sum()) - int((~tagged).sum())) <= 1
    counts = torch.bincount(stratum[chosen][~tagged], minlength=10)
    middle = int(counts[4:7].sum())
    assert middle == min(18, int((~tagged).sum()))  # of which there are 18
    assert int(counts[4:7].max() - counts[4:7].min()) <= 1


@given(seen=st.sets(st.integers(0, 39)), most=st.integers(1, 50))
def test_more_untagged_slices_are_new_and_untagged(seen: set[int], most: int) -> None:
    tags = (torch.arange(40) % 3 == 0).float()[:, None]
    chosen = choose_untagged(40, most, sorted(seen), tags)
    left = {number for number in range(40) if number % 3} - seen
    assert set(chosen) <= left
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(most, len(left))
    assert len(choose_untagged(40, 50, [], None)) == 40


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=6), quota=st.integers(1, 40))
def test_sampled_pixels_are_distinct_and_spread(counts: list[int], quota: int) -> None:
    row = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chosen = sample_rows(row, quota)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    found = torch.bincount(row[chosen], minlength=len(counts)).tolist()
    assert found == [min(quota, count) for count in counts]


def test_asymmetry_and_appearance_stand_behind_the_features() -> None:
    asymmetry, appearance = torch.randn(3, 2, 5, 6), torch.randn(3, 1, 5, 6)
    batch = embeddings()._replace(asymmetry=asymmetry, appearance=appearance)
    place = torch.tensor([[0, 1, 2], [2, 4, 5]])
    both = torch.cat([batch.features, asymmetry, appearance], dim=1)
    expected = torch.stack([both[0, :, 1, 2], both[2, :, 4, 5]])
    assert torch.equal(feature_pixels(batch, place), expected)


def test_some_slices_of_a_batch() -> None:
    batch = embeddings()._replace(activation=None)
    some = batch.of(torch.tensor([True, False, True]))
    assert some.index.tolist() == [0, 2]
    assert torch.equal(some.features, batch.features[[0, 2]])
    assert some.activation is None


def test_loader_is_sequential_and_uses_its_collation() -> None:
    calls = []

    def collate(items: list[int]) -> list[int]:
        calls.append(items)
        return items

    loader = DataLoader(range(10), batch_size=3, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    source = EmbeddingSource(loader, lambda batch, **_: batch)
    assert list(source([1, 2, 5, 8])) == [[1, 2, 5], [8]]
    assert list(source([])) == []
    assert len(source) == 10


def test_workers_are_started_as_the_loader_starts_them() -> None:
    told = {"num_workers": 1, "multiprocessing_context": "spawn", "prefetch_factor": 7}
    loader = DataLoader(range(6), batch_size=2, **told)  # type: ignore[arg-type]
    source = EmbeddingSource(loader, lambda batch, **_: batch)
    assert [each.tolist() for each in source([1, 3, 5])] == [[1, 3], [5]]  # type: ignore[attr-defined]
    with mock.patch("wsseg.clustering.source.DataLoader", return_value=[]) as made:
        list(source([1]))
    context = made.call_args.kwargs.pop("multiprocessing_context")
    assert context.get_start_method() == "spawn"
    assert made.call_args.kwargs["prefetch_factor"] == 7


@pytest.mark.parametrize("loader", [[1, 2], {"a": 1}, None])
def test_loaders_that_cannot_be_used(loader: object) -> None:
    with pytest.raises(ClusteringError, match="dataloader="):
        EmbeddingSource(loader, lambda batch, **_: batch)


def test_streams_cannot_be_used() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    with pytest.raises(ClusteringError, match="length, got DataLoader over Stream;"):
        EmbeddingSource(DataLoader(Stream()), lambda batch, **_: batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3, 4)}, "`features` is"),
        ({"activation": torch.zeros(3, 2, 9, 9)}, "`activation` is .*make it .3, 2, 5, 6"),
        ({"valid": torch.zeros(3, 5, 6)}, "make it torch.bool"),
        ({"index": torch.tensor([0, -1, 2])}, "integers from 0"),
        ({"group": torch.zeros(2)}, "`group`"),
        ({"group": torch.zeros(3)}, "`group` must hold integers"),
        ({"stratum": torch.zeros(3)}, "`stratum` must hold integers"),
        ({"appearance": torch.zeros(3, 2, 9, 9)}, "`appearance` is .*make it .3, 2, 5, 6"),
        ({"asymmetry": torch.zeros(3)}, r"`asymmetry` is \(3,\); make it \(3, 5, 6\)"),
        ({"stratum": torch.zeros(2)}, "`stratum`"),
        ({"tags": torch.zeros(3)}, r"`tags` is \(3,\); make it .B, C."),
        ({"group": ["ann", "ben", "eve"]}, "`group` is of type list; make it a tensor"),
        ({"valid": None}, "`valid` is of type NoneType"),
    ],
)
def test_wrong_embeddings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusteringError, match=message):
        check_embeddings(embeddings()._replace(**change))


def test_embeddings_of_another_type() -> None:
    with pytest.raises(ClusteringError, match="returned tuple"):
        check_embeddings(tuple(embeddings()))


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


def test_without_patients_and_levels_every_slice_is_its_own_patient_of_one_level() -> None:
    plain = check_embeddings(embeddings()._replace(group=None, stratum=None))
    assert plain.groups.equal(plain.index)
    assert not plain.strata.any()
    told = embeddings()
    assert told.groups is told.group
    assert told.strata is told.stratum
