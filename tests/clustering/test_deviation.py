"""What is normal at a place, and how slices deviate from it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wsseg.clustering import PixelEmbeddings
from wsseg.clustering.deviation import (
    ENOUGH_CASES,
    CoarseSlices,
    coarse_slices,
    coarse_sums,
    deviation,
    learn_normal,
    normal_appearance,
    normal_by_level,
    smoothed_appearance,
)
from wsseg.clustering.statistics import BUCKETS
from wsseg.utils.distributed import Collective

VALID = torch.ones(1, 24, 20, dtype=torch.bool)


def slices(images: Tensor, tags: list[int], level: list[int]) -> PixelEmbeddings:
    count, _, height, width = images.shape
    return PixelEmbeddings(
        features=images,
        activation=None,
        valid=torch.ones(count, height, width, dtype=torch.bool),
        tags=torch.tensor(tags, dtype=torch.float32)[:, None],
        index=torch.arange(count),
        case=torch.arange(count),
        level=torch.tensor(level),
        image=images,
    )


def learned(batch: PixelEmbeddings) -> Tensor:
    assert batch.image is not None
    return learn_normal([coarse_slices(batch, batch.image)], Collective())


def deviating(batch: PixelEmbeddings, normal: Tensor) -> Tensor:
    assert batch.image is not None
    return deviation(batch.image, normal, batch.levels)


def gradient(height: int, width: int) -> Tensor:
    return torch.linspace(0, 1, height)[:, None] + torch.linspace(0, 2, width)


def test_a_lesion_is_what_is_out_of_place() -> None:
    """Dark tissue is normal above and bright tissue below; the lesion is dark tissue below."""
    images = gradient(40, 40).expand(12, 1, -1, -1).clone()
    images += 0.02 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    images[-1, :, 24:32, 24:32] -= 0.8
    batch = slices(images, [0] * 11 + [1], [3] * 12)
    found = deviating(batch, learned(batch))
    assert float(found[-1, 0, 25:31, 25:31].max()) < -0.6
    found[-1, :, 24:32, 24:32] = 0
    assert float(found[..., 2:-2, 2:-2].abs().max()) < 0.2


def test_what_few_patients_show_is_not_taken_for_normal() -> None:
    images = torch.rand(ENOUGH_CASES, 2, 12, 12)
    enough = slices(images, [0] * ENOUGH_CASES, [1] * ENOUGH_CASES)
    normal = learned(enough)
    assert normal.shape == (2, 2, 3, 3)
    assert normal[0].isnan().all()  # a level without slices
    torch.testing.assert_close(normal[1], coarse_sums(images, enough.valid)[:, :2].mean(dim=0))
    same = enough._replace(case=torch.arange(ENOUGH_CASES).clamp_max(ENOUGH_CASES - 2))
    normal = learned(same)
    assert normal.isnan().all()
    assert not deviating(same, normal).any()


def test_tagged_slices_do_not_say_what_is_normal() -> None:
    images = torch.zeros(2 * ENOUGH_CASES, 1, 8, 8)
    images[ENOUGH_CASES:] = 9
    batch = slices(images, [0] * ENOUGH_CASES + [1] * ENOUGH_CASES, [0] * 2 * ENOUGH_CASES)
    batch = batch._replace(tags=batch.tags * torch.tensor([1.0, 0.0]))  # one of two is enough
    assert not learned(batch).any()


def test_a_place_with_anatomy_in_less_than_half_of_the_slices_has_no_norm() -> None:
    images = torch.ones(ENOUGH_CASES, 1, 8, 8)
    batch = slices(images, [0] * ENOUGH_CASES, [0] * ENOUGH_CASES)
    batch.valid[:, :, 4:] = False
    batch.valid[: ENOUGH_CASES // 2, 4:, 4:] = True
    batch.valid[: ENOUGH_CASES // 2 - 1, :4, 4:] = True
    normal = learned(batch)
    assert normal[0, 0].isnan().tolist() == [[False, True], [False, False]]
    assert bool((normal[0, 0][~normal[0, 0].isnan()] == 1).all())


def test_the_outside_has_no_share_in_appearance() -> None:
    valid = torch.zeros(1, 20, 20, dtype=torch.bool)
    valid[:, 4:16, 4:16] = True
    found = smoothed_appearance(valid[:, None].float(), valid)
    torch.testing.assert_close(found, valid[:, None].float())


@given(seed=st.integers(0, 2**31), cut=st.integers(0, 12))
def test_normal_depend_neither_on_order_nor_on_parts(seed: int, cut: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    level = torch.randint(3, (12,), generator=draw)
    case = torch.arange(12)
    sums = torch.rand(12, 3, 2, 2, generator=draw)
    whole = learn_normal([CoarseSlices(level, case, sums)], Collective())
    order = torch.randperm(12, generator=draw)
    halves = (order[:cut], order[cut:])
    parts = [CoarseSlices(level[rows], case[rows], sums[rows]) for rows in halves]
    assert torch.equal(whole.nan_to_num(7), learn_normal(parts, Collective()).nan_to_num(7))


@pytest.mark.parametrize("shape", [(24, 20), (23, 17), (3, 5)])
def test_a_coarse_grid_shows_smooth_maps_as_they_are(shape: tuple[int, int]) -> None:
    smooth = gradient(*shape)[None, None]
    sums = coarse_sums(smooth, torch.ones(1, *shape, dtype=torch.bool))
    normal = normal_by_level(sums, torch.ones(1), torch.full((1,), ENOUGH_CASES))
    back = normal_appearance(normal, torch.zeros(1, dtype=torch.int64), *shape)
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(back[inside], smooth[inside], atol=0.06, rtol=0)


def test_strata_that_were_not_seen_are_unknown() -> None:
    normal = torch.zeros(2, 1, 3, 3)
    found = normal_appearance(normal, torch.tensor([1, 2, 63]), 12, 12)
    assert found.isnan().flatten(1).all(dim=1).tolist() == [False, True, True]


def test_strata_of_any_number_share_buckets() -> None:
    batch = slices(
        torch.ones(ENOUGH_CASES, 1, 8, 8), [0] * ENOUGH_CASES, [10**9 + 3] * ENOUGH_CASES
    )
    normal = learned(batch)
    assert len(normal) <= BUCKETS
    found = normal_appearance(normal, batch.level, 8, 8)
    assert found.eq(1).all()


def test_no_untagged_slice_at_all() -> None:
    batch = slices(torch.rand(2, 1, 8, 8), [1, 1], [0, 1])
    normal = learned(batch)
    assert normal.shape == (0, 1, 2, 2)
    assert not deviating(batch, normal).any()
    assert learn_normal([], Collective()).shape == (0, 0, 0, 0)


def test_the_appearance_is_of_smoothed_appearance() -> None:
    image = torch.zeros(1, 1, 24, 20)
    image[..., 12, 10] = 1.0
    found = smoothed_appearance(image, VALID)
    assert 0 < float(found.max()) < 0.02
    torch.testing.assert_close(smoothed_appearance(image * 0 + 3, VALID), image * 0 + 3)


def test_where_every_slice_has_a_tag_nothing_deviates() -> None:
    appearance = torch.rand(2, 3, 8, 8)
    nothing = learn_normal([], Collective())
    assert not deviation(appearance, nothing, torch.zeros(2, dtype=torch.int64)).any()
