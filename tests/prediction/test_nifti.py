"""Masks lie exactly on their source, as two independent NIfTI readers see it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
from nibabel.affines import from_matvec

from wsseg.data.readers import Header, read_header
from wsseg.prediction.nifti import save_volume

ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "SAL", "AIL")


def make_affine(orientation: str, degrees: float) -> np.ndarray:
    """An affine with uneven voxels, a far origin, an orientation and a tilt."""
    angle = np.deg2rad(degrees)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    axes = nib.orientations.axcodes2ornt(orientation)
    turn = np.zeros((3, 3))
    for voxel_axis, (world_axis, sign) in enumerate(axes):
        turn[int(world_axis), voxel_axis] = sign
    return from_matvec(tilt @ turn @ np.diag([0.9, 1.1, 2.5]), [-90.0, 126.5, -72.25])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (4, 1)])
def test_mask_lies_on_its_source(
    tmp_path: Path, orientation: str, degrees: float, codes: tuple[int, int]
) -> None:
    affine = make_affine(orientation, degrees)
    source = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), affine)
    source.header.set_xyzt_units("mm", "sec")
    source.header["cal_max"] = 1500
    source.set_qform(affine, codes[0])
    source.set_sform(affine if codes[1] else None, codes[1])
    nib.save(source, tmp_path / "image.nii.gz")
    source = nib.load(tmp_path / "image.nii.gz")

    volume = np.zeros((5, 6, 7), np.uint8)
    volume[1, 2, 3] = 1
    header = read_header(tmp_path / "image.nii.gz", "case")
    path = save_volume(volume, header, tmp_path / "out" / "case.nii.gz")

    mask = nib.load(path)
    np.testing.assert_array_equal(mask.affine, source.affine)
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == codes
    assert mask.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert mask.get_data_dtype() == np.uint8
    assert mask.header["cal_max"] == 0
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), volume)

    ours, theirs = (sitk.ReadImage(str(p)) for p in (path, tmp_path / "image.nii.gz"))
    for property_name in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        assert getattr(ours, property_name)() == getattr(theirs, property_name)()
    assert ours.GetPixel(1, 2, 3) == 1
    assert sitk.GetArrayFromImage(ours).sum() == 1
    assert [file.name for file in path.parent.iterdir()] == ["case.nii.gz"]


def test_a_scaled_or_4d_source_gives_a_plain_mask(tmp_path: Path) -> None:
    source = nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.float32), np.diag([2, 2, 3, 1.0]))
    source.header.set_slope_inter(0.5, 7)
    nib.save(source, tmp_path / "image.nii.gz")
    header = read_header(tmp_path / "image.nii.gz", "case")
    volume = np.ones((4, 5, 6), np.uint8)
    mask = nib.load(save_volume(volume, header, tmp_path / "case.nii.gz"))
    assert mask.shape == (4, 5, 6)
    np.testing.assert_array_equal(mask.get_fdata(), volume)
    np.testing.assert_array_equal(mask.affine, source.affine)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    source = Header((2, 2, 2), np.eye(4))
    with pytest.raises(OSError, match="disk full"):
        save_volume(np.zeros((2, 2, 2), np.uint8), source, tmp_path / "case.nii.gz")
    assert not list(tmp_path.iterdir())
