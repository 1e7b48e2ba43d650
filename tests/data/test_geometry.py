"""Slices lie where they should, and go back to where they came from."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.resampling import linear_weights
from wsseg.data.slicing import mask_to_slices, slices_to_volume, volume_to_slices
from wsseg.data.spec import DataSpec

AXES = ("axial", "coronal", "sagittal")
CODES = [
    tuple(pair[side] for pair, side in zip(order, sides, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for sides in product((0, 1), repeat=3)
]


def make_spec(axis: str, spacing: float | None, size: tuple[int, int] = (32, 32)) -> DataSpec:
    return DataSpec(("FLAIR",), {"tumour": (1,)}, axis, spacing, size)


def affine_of(codes: tuple[str, ...], voxel: tuple[float, float, float]) -> np.ndarray:
    directions = nib.orientations.axcodes2ornt(codes)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for source, (target, sign) in enumerate(directions.astype(int)):
        affine[target, source] = sign * voxel[source]
    affine[:3, 3] = 3.0, -5.0, 7.0
    return affine


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES, ids="".join)
@pytest.mark.parametrize("axis", AXES)
def test_every_orientation_round_trips_exactly(codes: tuple[str, ...], axis: str) -> None:
    shape, voxel = (9, 11, 14), (1.0, 2.0, 3.0)
    slices = volume_to_slices(noise((1, *shape)), affine_of(codes, voxel), make_spec(axis, None))
    mask = np.random.default_rng(1).random((2, *shape)) > 0.5
    cut = mask_to_slices(mask, slices.geometry)
    assert cut.shape == (len(slices.valid), 2, 32, 32)
    back = slices_to_volume(cut.astype(np.float32), slices.geometry)
    assert back.shape == mask.shape
    assert np.array_equal(back, mask.astype(np.float32))


@pytest.mark.parametrize("codes", CODES, ids="".join)
def test_orientation_of_the_file_does_not_matter(codes: tuple[str, ...]) -> None:
    ras = nib.Nifti1Image(noise((9, 11, 14)), affine_of(("R", "A", "S"), (1.0, 1.0, 1.0)))
    turned = ras.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt(("R", "A", "S")), nib.orientations.axcodes2ornt(codes)
        )
    )
    for axis in AXES:
        one, other = (
            volume_to_slices(i.get_fdata(dtype=np.float32)[None], i.affine, make_spec(axis, 1.5))
            for i in (ras, turned)
        )
        assert np.array_equal(one.valid, other.valid)
        np.testing.assert_allclose(one.image, other.image, atol=1e-5)


def test_pictures_are_upright() -> None:
    volume = np.ones((1, 20, 20, 20), np.float32)
    spots = {"right anterior superior": (18, 17, 16)}
    mask = np.zeros((1, 20, 20, 20), bool)
    mask[(0, *spots["right anterior superior"])] = True
    expected = {"axial": (16, 2, 1), "coronal": (17, 3, 1), "sagittal": (18, 3, 2)}
    for axis, place in expected.items():
        geometry = volume_to_slices(volume, np.eye(4), make_spec(axis, None, (20, 20))).geometry
        cut = mask_to_slices(mask, geometry)[:, 0]
        assert tuple(int(n) for n in np.argwhere(cut)[0]) == place


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return (sum(g**2 for g in grid) < radius**2)[None]


@settings(max_examples=25, deadline=None)
@given(
    codes=st.sampled_from(CODES),
    axis=st.sampled_from(AXES),
    spacing=st.floats(0.6, 2.0),
    voxel=st.tuples(*[st.floats(0.7, 1.3)] * 3),
)
def test_resampled_masks_come_back_nearly(
    codes: tuple[str, ...], axis: str, spacing: float, voxel: tuple[float, float, float]
) -> None:
    mask = ball((40, 42, 44), 14.0)
    volume = np.where(mask, noise(mask.shape), np.float32(0))
    slices = volume_to_slices(volume, affine_of(codes, voxel), make_spec(axis, spacing, (128, 128)))
    cut = mask_to_slices(mask, slices.geometry)
    assert (cut[:, 0] == slices.valid).mean() > 0.999
    back = slices_to_volume(cut.astype(np.float32), slices.geometry) > 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.93


def test_anatomy_lies_in_the_middle_of_a_slice() -> None:
    volume = np.zeros((1, 60, 60, 8), np.float32)
    volume[:, 4:20, 30:58] = noise((1, 16, 28, 8))
    slices = volume_to_slices(volume, np.eye(4), make_spec("axial", None))
    rows, columns = (np.flatnonzero(slices.valid.any(axis=(0, n))) for n in (2, 1))
    assert (rows[0], rows[-1]) == (2, 29)
    assert (columns[0], columns[-1]) == (8, 23)
    assert not slices.image[:, 0][~slices.valid].any()


def test_smooth_images_keep_their_values_when_resampled() -> None:
    x = np.linspace(0, np.pi, 60)
    volume = (2 + np.sin(x)[:, None, None] * np.ones((60, 60, 3)))[None].astype(np.float32)
    fine = volume_to_slices(volume, np.eye(4), make_spec("axial", None, (64, 64))).image
    coarse = volume_to_slices(volume, np.eye(4), make_spec("axial", 2.0, (32, 32))).image
    mean = fine.reshape(3, 1, 32, 2, 32, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(coarse[..., 4:-4, 4:-4], mean[..., 4:-4, 4:-4], atol=0.02)


def test_what_is_finer_than_pixels_is_not_folded_back() -> None:
    stripes = np.where(np.arange(15) % 2, -1, 1)
    assert np.abs(linear_weights(5, 15, 3.0) @ stripes).max() < 0.2


def test_the_edge_of_anatomy_is_not_mixed_with_the_empty_outside() -> None:
    volume = np.zeros((1, 40, 40, 2), np.float32)
    volume[:, 8:32, 8:32] = 1, 3
    image, valid, _ = volume_to_slices(volume, np.eye(4), make_spec("axial", 2.0))
    np.testing.assert_allclose(image[0, 0][valid[0]], -1, atol=1e-4)
    np.testing.assert_allclose(image[1, 0][valid[1]], 1, atol=1e-4)


def test_half_a_pixel_covered_is_enough() -> None:
    mask = np.zeros((1, 32, 32, 2), bool)
    mask[:, 16:17, 8:24] = True
    spec = make_spec("axial", 2.0, (16, 16))
    geometry = volume_to_slices(noise(mask.shape), np.eye(4), spec).geometry
    assert mask_to_slices(mask, geometry).sum() == 2 * 8


def test_pixels_are_those_of_the_axes_that_a_slice_has() -> None:
    affine = affine_of(("P", "S", "L"), (2.0, 3.0, 5.0))
    whole = whole_plane_geometry((9, 11, 14), affine, "axial", None)
    assert (whole.pixel, whole.thickness, whole.plane) == ((2.0, 5.0), 3.0, (9, 14))


def test_parts_outside_the_slice_come_back_as_nothing() -> None:
    volume = noise((1, 60, 60, 3))
    slices = volume_to_slices(volume, np.eye(4), make_spec("axial", None))
    back = slices_to_volume(np.ones((3, 1, 32, 32), np.float32), slices.geometry)
    assert back.sum() == 3 * 32 * 32
    assert back[0, 14:46, 14:46].all()
