"""Statistics against counting by hand, and that they add up exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.clustering.statistics import (
    BUCKETS,
    TAGGED,
    UNTAGGED,
    ClusterStatistics,
    empty_statistics,
    slice_statistics,
)

R, K, C = 2, 5, 2


def draw_slices(seed: int, slices: int = 6, pixels: int = 40) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "labels": torch.randint(K, (slices * pixels, R), generator=draw),
        "activation": torch.rand(slices * pixels, C, generator=draw),
        "row": torch.arange(slices).repeat_interleave(pixels),
        "place": torch.randint(50, (slices * pixels, 2), generator=draw),
        "tags": torch.randint(2, (slices, C), generator=draw).float(),
        "case": torch.randint(200, (slices,), generator=draw),
        "level": torch.randint(200, (slices,), generator=draw),
    }


def equal(left: ClusterStatistics, right: ClusterStatistics) -> bool:
    return all(torch.equal(getattr(left, name), value) for name, value in vars(right).items())


def variance(places: torch.Tensor) -> float:
    return float(places.double().var(dim=0, correction=0).sum()) if len(places) else 0.0


def test_an_unknown_tag_counts_for_the_other_classes_only() -> None:
    data = draw_slices(1)
    whole = slice_statistics(**data, clusters=K)
    data["tags"][2, 0] = torch.nan
    found = slice_statistics(**data, clusters=K)
    rows = data["row"] != 2
    kept = {name: data[name][rows] for name in ("labels", "activation", "row", "place")}
    kept["row"] = kept["row"] - (kept["row"] > 2).long()
    others = torch.arange(6) != 2
    kept |= {name: data[name][others] for name in ("tags", "case", "level")}
    without = slice_statistics(**kept, clusters=K)
    for name in ("pixels", "by_case", "activation", "slices", "active_slices", "area", "spread"):
        values = (getattr(each, name) for each in (found, without, whole))
        of_found, of_others, of_all = values
        assert torch.equal(of_found[:, :, 0], of_others[:, :, 0]), name
        assert torch.equal(of_found[:, :, 1], of_all[:, :, 1]), name
    assert found.total.sum(dim=1).tolist() == [5, 6]


def test_counts_as_by_hand() -> None:
    data = draw_slices(0)
    found = slice_statistics(**data, clusters=K)
    for r, k, c, tag in [(0, 0, 0, TAGGED), (1, 4, 1, UNTAGGED), (0, 3, 1, TAGGED)]:
        pixels = activation = slices = votes = area = drop = spread = 0.0
        cases: dict[int, int] = {}
        for number, tags in enumerate(data["tags"]):
            if int(tags[c]) != tag:
                continue
            here = data["row"] == number
            inside = here & (data["labels"][:, r] == k)
            pixels += int(inside.sum())
            activation += float(data["activation"][inside, c].double().sum())
            if inside.any():
                slices += 1
                votes += float(data["activation"][inside, c].mean() > 0.5)
                bucket = int(data["case"][number]) % BUCKETS
                cases[bucket] = cases.get(bucket, 0) + int(inside.sum())
            area += float(inside.sum() / here.sum())
            spread += (
                variance(data["place"][inside]) / variance(data["place"][here]) * int(inside.sum())
            )
            whole = data["activation"][here, c].sum()
            drop += float(data["activation"][inside, c].sum() / whole)
        at = (r, k, c, tag)
        assert found.pixels[at].sum() == pixels
        assert found.slices[at] == slices
        assert found.active_slices[at] == votes
        squares = sum(pixels**2 for pixels in cases.values())
        assert found.support[at] == pytest.approx(sum(cases.values()) ** 2 / max(1, squares))
        assert abs(found.activation[at] - activation) < 1e-4
        assert abs(found.area[at] - area) < 1e-4
        assert abs(found.drop[at] - drop) < 1e-4
        assert abs(found.spread[at] - spread) < 1e-3
    assert torch.equal(found.total[:, TAGGED], data["tags"].sum(dim=0).double())
    both = (data["tags"][:, 0] * data["tags"][:, 1]).sum()
    assert found.together[0, 1] == found.together[1, 0] == both
    assert torch.equal(found.together.diagonal(), found.total[:, TAGGED])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 6))
def test_parts_add_up_to_the_whole_to_the_bit(seed: int, cut: int) -> None:
    data = draw_slices(seed)
    whole = slice_statistics(**data, clusters=K)
    total = empty_statistics(R, K, C)
    for chosen in (torch.arange(cut, 6), torch.arange(cut)):
        inside = torch.isin(data["row"], chosen)
        total = total + slice_statistics(
            data["labels"][inside],
            data["activation"][inside],
            data["row"][inside] - (int(chosen.min()) if len(chosen) else 0),
            data["place"][inside],
            data["tags"][chosen],
            data["case"][chosen],
            data["level"][chosen],
            K,
        )
    assert equal(total, whole)


def test_slices_without_valid_pixels_count_as_slices_only() -> None:
    data = draw_slices(1)
    none = data["row"] < 0
    found = slice_statistics(
        data["labels"][none],
        data["activation"][none],
        data["row"][none],
        data["place"][none],
        data["tags"],
        data["case"],
        data["level"],
        K,
    )
    assert found.total.sum() == 6 * C
    assert all(
        not value.any() for name, value in vars(found).items() if name not in ("total", "together")
    )


def test_any_kind_of_whole_number_names_groups_and_strata() -> None:
    data = draw_slices(3)
    small = {name: data[name].int() for name in ("case", "level")}
    left, right = (slice_statistics(**{**data, **more}, clusters=K) for more in ({}, small))
    assert equal(left, right)
