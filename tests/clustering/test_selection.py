"""Which slices and pixels are looked at, and by whom: bounded, spread, each exactly once."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.clustering.selection import (
    case_runs,
    choose_slices,
    choose_untagged,
    occurrence,
    process_positions,
    process_runs,
    sample_rows,
)


@given(count=st.integers(0, 100), size=st.integers(1, 9))
def test_shares_are_disjoint_complete_and_even(count: int, size: int) -> None:
    shares = [process_positions(count, rank, size) for rank in range(size)]
    assert [i for part in shares for i in part] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(sizes=st.lists(st.integers(1, 30), max_size=40), size=st.integers(1, 9))
def test_every_body_goes_to_one_process(sizes: list[int], size: int) -> None:
    whole = list(torch.arange(sum(sizes)).split(sizes)) if sizes else []
    shares = [process_runs(whole, rank, size) for rank in range(size)]
    dealt = [body for part in shares for body in part]
    assert [body.tolist() for body in dealt] == [body.tolist() for body in whole]
    loads = [sum(len(body) for body in part) for part in shares]
    assert max(loads) <= sum(sizes) / size + max(sizes, default=0)


def test_slices_of_a_case_are_in_order() -> None:
    case = torch.tensor([7, 3, 7, 3, 7, 9])
    depth = torch.tensor([2.0, 1.0, 0.5, 0.0, 9.0, 4.0])
    found = case_runs(torch.tensor([0, 1, 2, 3, 5]), case, depth)
    assert [body.tolist() for body in found] == [[3, 1], [2, 0], [5]]
    assert case_runs(torch.empty(0, dtype=torch.int64), case, depth) == []


def test_long_cases_are_mapped_in_parts() -> None:
    found = case_runs(torch.arange(300), torch.zeros(300), torch.arange(300.0))
    assert [len(body) for body in found] == [128, 128, 44]
    assert torch.equal(torch.cat(found), torch.arange(300))


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
    """Ten levels; lesions keep to the middle ones, where fewer slices are untagged."""
    level = torch.arange(10).repeat(20)
    case = torch.arange(200) // 10
    tags = ((level >= 4) & (level < 7) & (case < 14)).float()[:, None]
    chosen = torch.tensor(choose_slices(200, most, seed, tags, level))
    tagged = tags[chosen, 0] > 0
    assert abs(int(tagged.sum()) - int((~tagged).sum())) <= 1
    counts = torch.bincount(level[chosen][~tagged], minlength=10)
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


def test_slices_of_which_nothing_is_known_are_not_chosen() -> None:
    tags = torch.tensor([[1.0], [0.0], [torch.nan], [torch.nan]]).repeat(10, 1)
    chosen = choose_slices(count=40, most=12, seed=0, tags=tags, level=torch.arange(40) // 4)
    assert not tags[chosen].isnan().any()
    assert tags[chosen].sum() == 6
    assert not set(choose_untagged(40, 40, [], tags)) - set(range(1, 40, 4))
