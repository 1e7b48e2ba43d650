"""Augmentation: image, anatomy and cluster map move as one; nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from wsseg.data.augmentation import SliceAugmentation, bend, sampling_grid, warp_labels
from wsseg.data.spec import Batch

STILL = {"flip": 0.0, "rotation": 0.0, "scaling": 0.0}
PLAIN = {"gain": 0.0, "shift": 0.0, "gamma": 0.0, "noise": 0.0}


def make_batch(count: int = 4, height: int = 32, width: int = 48, *, maps: bool = True) -> Batch:
    """A batch whose image and cluster map are the same piecewise constant pattern."""
    valid = torch.zeros(count, height, width, dtype=torch.bool)
    valid[:, 4:-4, 4:-4] = True
    coarse = torch.randint(0, 2, (count, 1, height // 8, width // 8)).float()
    pattern = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    batch = Batch(
        image=(pattern + 1.0).repeat(1, 2, 1, 1) * valid[:, None],
        tags=torch.ones(count, 1),
        valid=valid,
        index=torch.arange(count),
        case=torch.zeros(count, dtype=torch.int64),
    )
    if maps:
        batch["cluster_map"] = torch.where(valid[:, None], pattern, -1.0)
    return batch


def rotation_matrix(degrees: float) -> Tensor:
    angle = math.radians(degrees)
    rows = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return torch.tensor([rows])


@pytest.mark.parametrize("maps", [True, False])
def test_no_strength_is_the_identity(maps: bool) -> None:
    batch = make_batch(maps=maps)
    view = SliceAugmentation(**STILL, **PLAIN)(batch)
    assert view.keys() == batch.keys()
    assert all(torch.equal(view[key], batch[key]) for key in batch)  # type: ignore[literal-required]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31), st.floats(0, 180), st.floats(0, 0.5), st.sampled_from([0.0, 0.5, 1.0])
)
def test_image_and_map_move_together(
    seed: int, rotation: float, scaling: float, flip: float
) -> None:
    torch.manual_seed(seed)
    batch = make_batch()
    view = SliceAugmentation(flip=flip, rotation=rotation, scaling=scaling, **PLAIN)(batch)
    image, labels = view["image"][:, :1], view["cluster_map"]
    assert torch.equal(image, view["image"][:, 1:])
    assert not image[~view["valid"][:, None]].any()
    # Inside a constant patch the blended image equals the pattern that the map took over whole.
    flat = (image == 1.0) | (image == 2.0)
    assert flat.any()
    assert torch.equal(labels[flat & (labels >= 0)] + 1.0, image[flat & (labels >= 0)])
    assert ((labels >= 0) == view["valid"][:, None]).all()
    assert set(labels.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_targets_move_as_cluster_maps_do() -> None:
    batch = make_batch()
    batch["target"] = torch.cat([batch["cluster_map"], 1 - batch["cluster_map"]], dim=1)
    torch.manual_seed(0)
    view = SliceAugmentation(rotation=90.0, **PLAIN)(batch)
    assert not torch.equal(view["target"], batch["target"])
    assert torch.equal(view["target"][:, :1], view["cluster_map"])
    del batch["cluster_map"]
    torch.manual_seed(0)
    alone = SliceAugmentation(rotation=90.0, **PLAIN)(batch)
    assert "cluster_map" not in alone
    assert torch.equal(alone["target"], view["target"])


def test_corners_from_outside_are_not_valid() -> None:
    batch = make_batch(1, 32, 32)
    batch["valid"] = torch.ones_like(batch["valid"])
    batch["cluster_map"] = torch.ones_like(batch["cluster_map"])
    grid = sampling_grid(rotation_matrix(45.0), 32, 32)
    valid, labels, inside = warp_labels(batch["valid"], batch["cluster_map"], grid)
    assert labels is not None
    for corner in ((0, 0), (0, 31), (31, 0), (31, 31)):
        assert not valid[0][corner]
        assert not inside[0][corner]
    assert valid[0, 16, 16]
    assert labels[0, 0, 16, 16] == 1
    torch.manual_seed(0)
    view = SliceAugmentation(flip=0.0, rotation=180.0, scaling=0.0, **PLAIN)(batch)
    assert torch.equal(view["cluster_map"][:, 0] == -1.0, ~view["valid"])


@settings(max_examples=15, deadline=None)
@given(st.floats(-180, 180))
def test_rotation_agrees_with_scipy_on_oblong_slices(degrees: float) -> None:
    torch.manual_seed(0)
    smooth = ndimage.gaussian_filter(torch.randn(40, 64).numpy(), 3)
    image = torch.from_numpy(smooth)[None, None]
    grid = sampling_grid(rotation_matrix(degrees), 40, 64)
    ours = torch.nn.functional.grid_sample(image, grid, align_corners=False)[0, 0]
    theirs = ndimage.rotate(smooth, degrees, reshape=False, order=1, prefilter=False)
    torch.testing.assert_close(
        ours[12:28, 24:40], torch.from_numpy(theirs)[12:28, 24:40], atol=1e-4, rtol=0
    )


def test_flip_mirrors_the_width() -> None:
    batch = make_batch()
    view = SliceAugmentation(flip=1.0, rotation=0.0, scaling=0.0, **PLAIN)(batch)
    torch.testing.assert_close(view["image"], batch["image"].flip(-1))
    assert torch.equal(view["valid"], batch["valid"].flip(-1))
    assert torch.equal(view["cluster_map"], batch["cluster_map"].flip(-1))


def test_slices_get_views_of_their_own() -> None:
    batch = make_batch(1)
    many = {key: value.repeat(8, *[1] * (value.ndim - 1)) for key, value in batch.items()}  # type: ignore[attr-defined]
    torch.manual_seed(0)
    view = SliceAugmentation(**PLAIN)(many)  # type: ignore[arg-type]
    assert len({tuple(image.flatten().tolist()) for image in view["image"]}) == 8


def test_seed_repeats_a_view_and_the_input_stays() -> None:
    batch = make_batch()
    before = {key: value.clone() for key, value in batch.items()}  # type: ignore[attr-defined]
    augmentation = SliceAugmentation()
    torch.manual_seed(7)
    first = augmentation(batch)
    torch.manual_seed(7)
    again = augmentation(batch)
    assert torch.equal(first["image"], again["image"])
    assert all(torch.equal(before[key], batch[key]) for key in before)  # type: ignore[literal-required]


def test_intensity_changes_stay_inside_and_differ_by_modality() -> None:
    batch = make_batch()
    view = SliceAugmentation(**STILL)(batch)
    assert torch.equal(view["valid"], batch["valid"])
    assert torch.equal(view["cluster_map"], batch["cluster_map"])
    assert not view["image"][~view["valid"][:, None].expand_as(view["image"])].any()
    change = (view["image"] - batch["image"]).sum(dim=(-2, -1))
    assert len(set(change.flatten().tolist())) == change.numel()


@pytest.mark.parametrize("name", ["gain", "shift", "gamma", "noise"])
def test_every_slice_and_modality_draws_its_own_change(name: str) -> None:
    batch = make_batch()
    batch["image"] = torch.rand(32, 48).expand(4, 2, -1, -1) * batch["valid"][:, None]
    image = SliceAugmentation(**STILL, **PLAIN | {name: 0.3})(batch)["image"].flatten(0, 1)
    assert len({tuple(each.flatten().tolist()) for each in image}) == 8


def test_a_mask_is_left_alone() -> None:
    batch = make_batch()
    batch["mask"] = torch.rand(4, 1, 32, 48) > 0.5
    assert SliceAugmentation()(batch)["mask"] is batch["mask"]


def test_curve_keeps_the_range_and_the_order() -> None:
    image = torch.linspace(-2, 3, 64).view(1, 1, 8, 8)
    inside = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    bent = bend(image, inside, torch.full((1, 1, 1, 1), 1.5))
    assert bent.min() == -2
    assert bent.max() == 3
    assert (bent.flatten().diff() > 0).all()
    assert not torch.allclose(bent, image)


def test_slices_without_anatomy_or_contrast_stay_finite() -> None:
    batch = make_batch()
    batch["valid"][0] = False
    batch["image"][0] = 0.0
    batch["image"][1] = 1.0
    view = SliceAugmentation()(batch)
    assert torch.isfinite(view["image"]).all()


def test_mixed_precision_moves_no_pixel() -> None:
    """A grid in bfloat16 would be off by a quarter of a pixel at a width of 240."""
    matrix = torch.eye(2).expand(2, 2, 2)
    exact = sampling_grid(matrix, 240, 240)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sampling_grid(matrix, 240, 240), exact)
