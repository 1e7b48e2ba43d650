"""Volumes are read to the last byte; what cannot be used is named in one line."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wsseg.data.file_checks import check_files
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.volumes import read_case_images, read_case_mask, without_background
from wsseg.utils.errors import InputError

SHAPE = (8, 9, 10)


@pytest.fixture
def case(tmp_path: Path) -> CaseFiles:
    rng = np.random.default_rng(0)
    for name in ("T1", "FLAIR"):
        save(tmp_path / f"{name}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
    save(tmp_path / "mask.nii.gz", rng.integers(0, 2, SHAPE).astype(np.uint8))
    images = {name: ImageFile(tmp_path / f"{name}.nii.gz") for name in ("T1", "FLAIR")}
    return CaseFiles("patient_7", images, tmp_path / "mask.nii.gz")


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def refused(case: CaseFiles) -> str:
    with pytest.raises(InputError) as caught:
        read_case_images(case, ("T1", "FLAIR"))
    message = str(caught.value)
    assert "patient_7" in message
    assert "FLAIR.nii.gz" in message
    assert "\n" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    return message


def test_values_and_affine(case: CaseFiles) -> None:
    images = read_case_images(case, ("FLAIR", "T1"))
    assert [volume.shape for volume in images.volumes] == [SHAPE, SHAPE]
    assert all(volume.dtype == np.int16 for volume in images.volumes)
    expected = nib.load(case.images["FLAIR"].path).get_fdata()
    np.testing.assert_array_equal(images.volumes[0], expected)
    np.testing.assert_array_equal(images.affine, np.eye(4))


def test_scaled_and_plain_files_and_nifti2(case: CaseFiles, tmp_path: Path) -> None:
    image = nib.Nifti2Image(np.arange(720, dtype=np.int16).reshape(SHAPE), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "T1.nii")
    case.images["T1"] = ImageFile(tmp_path / "T1.nii")
    read = read_case_images(case, ("T1", "FLAIR")).volumes[0]
    np.testing.assert_allclose(read, nib.load(tmp_path / "T1.nii").get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("kind", [">i2", np.uint16, np.int32, np.float64])
def test_voxels_of_every_type(case: CaseFiles, kind: object) -> None:
    array = np.random.default_rng(0).integers(1, 900, SHAPE).astype(kind)
    header = nib.Nifti1Header(endianness=array.dtype.byteorder)
    header.set_data_dtype(array.dtype)
    path = case.images["FLAIR"].path
    nib.save(nib.Nifti1Image(array, np.eye(4), header), path)
    assert nib.load(path).get_data_dtype() == kind
    [volume] = read_case_images(case, ("FLAIR",)).volumes
    np.testing.assert_array_equal(volume, array)
    assert volume.dtype in (np.int16, np.uint16, np.float32)
    assert volume.dtype.isnative


def test_upper_case_names(case: CaseFiles, tmp_path: Path) -> None:
    path = case.images["FLAIR"].path
    case.images["FLAIR"] = ImageFile(path.rename(tmp_path / "FLAIR.NII.GZ"))
    assert read_case_images(case, ("FLAIR",)).volumes[0].shape == SHAPE


def test_no_permission(case: CaseFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """As told by the system; whoever runs this test may be allowed everything."""

    def forbidden(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(InputError, match=r"T1\.nii.*cannot be read \(Permission denied\)"):
        read_case_images(case, ("T1",))


def test_missing_file(case: CaseFiles) -> None:
    case.images["FLAIR"].path.unlink()
    assert "does not exist" in refused(case)


# Named, and with no time in it: workers that collect a second apart must find the same tests.
@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"\x1f\x8b", gzip.compress(b"short", mtime=0)],
    ids=["empty", "nonsense", "magic", "short"],
)
def test_not_a_volume(case: CaseFiles, content: bytes) -> None:
    case.images["FLAIR"].path.write_bytes(content)
    refused(case)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_truncated_gzip(case: CaseFiles, share: float) -> None:
    path = case.images["FLAIR"].path
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refused(case)


def test_header_only(case: CaseFiles) -> None:
    path = case.images["FLAIR"].path
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:352]))
    assert "truncated" in refused(case)


def test_flipped_bits_are_noticed(case: CaseFiles) -> None:
    path = case.images["FLAIR"].path
    content = path.read_bytes()
    for place in range(20, len(content) - 8, len(content) // 30):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(bytes(damaged))
        refused(case)


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 512])
def test_gzip_of_several_streams(case: CaseFiles, pieces: int, padding: int) -> None:
    path = case.images["FLAIR"].path
    whole = read_case_images(case, ("FLAIR",)).volumes
    content = gzip.decompress(path.read_bytes())
    step = -(-len(content) // pieces)
    streams = [gzip.compress(content[i : i + step]) for i in range(0, len(content), step)]
    path.write_bytes(b"".join(streams) + b"\0" * padding)
    np.testing.assert_array_equal(read_case_images(case, ("FLAIR",)).volumes, whole)


def test_what_follows_the_voxels_is_checked_and_left_out(case: CaseFiles) -> None:
    path = case.images["FLAIR"].path
    whole = read_case_images(case, ("FLAIR",)).volumes
    content = path.read_bytes()
    more = bytearray(gzip.compress(bytes(3_000_000)))
    path.write_bytes(content + more)
    np.testing.assert_array_equal(read_case_images(case, ("FLAIR",)).volumes, whole)
    more[-6] ^= 1  # in its CRC
    path.write_bytes(content + more)
    assert "damaged" in refused(case)


@pytest.mark.parametrize("lost", [1, 4, 8])
def test_gzip_without_its_last_bytes(case: CaseFiles, lost: int) -> None:
    path = case.images["FLAIR"].path
    path.write_bytes(path.read_bytes()[:-lost])
    assert "truncated" in refused(case)


def test_header_that_claims_too_much(case: CaseFiles) -> None:
    path = case.images["FLAIR"].path
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    assert "claims" in refused(case)


@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "empty"), (3.0, "constant")]
)
def test_bad_values(case: CaseFiles, value: float, word: str) -> None:
    array = np.full(SHAPE, value, np.float32)
    array[0, 0, 0] = 0
    save(case.images["FLAIR"].path, array)
    assert word in refused(case)


def test_constant_throughout(case: CaseFiles) -> None:
    save(case.images["FLAIR"].path, np.full(SHAPE, 7, np.int16))
    assert "constant" in refused(case)


def test_rounded_rotation(case: CaseFiles) -> None:
    path = case.images["FLAIR"].path
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[252:256] = np.array([1, 0], "<i2").tobytes()  # the quaternion alone tells
    content[256:268] = np.array([0.7072, 0.7072, 0], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    assert "correct the qform" in refused(case)
    with pytest.raises(InputError, match=r"FLAIR\.nii\.gz.*correct the qform"):
        check_files(case, {"tumour": (1,)}, "axial")


def test_other_shape_and_affine(case: CaseFiles) -> None:
    save(case.images["FLAIR"].path, np.arange(720, dtype=np.int16).reshape(8, 10, 9))
    assert "shape (8, 10, 9) differs" in refused(case)
    save(case.images["FLAIR"].path, np.arange(720, dtype=np.int16).reshape(SHAPE), np.eye(4) * 1.1)
    assert "affine differs" in refused(case)


def test_rounded_affine_is_accepted(case: CaseFiles) -> None:
    affine = np.eye(4)
    affine[0, 3] = 0.01
    save(case.images["FLAIR"].path, np.arange(720, dtype=np.int16).reshape(SHAPE), affine)
    read_case_images(case, ("T1", "FLAIR"))


def test_channels_of_one_file(case: CaseFiles, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 9, (*SHAPE, 3)).astype(np.int16)
    save(tmp_path / "all.nii.gz", array)
    names = ("T1", "FLAIR")
    four = {n: ImageFile(tmp_path / "all.nii.gz", c) for n, c in zip(names, (2, 0), strict=True)}
    read = read_case_images(CaseFiles("patient_7", four), names).volumes
    np.testing.assert_array_equal(read, array[..., [2, 0]].transpose(3, 0, 1, 2))
    for channel, word in ((None, "where one is expected"), (3, "channel 3")):
        files = {"T1": ImageFile(tmp_path / "all.nii.gz", channel)}
        with pytest.raises(InputError, match=word):
            read_case_images(CaseFiles("patient_7", files), ("T1",))


def test_background_is_shifted_to_zero() -> None:
    volume = np.full(SHAPE, -3.25, np.float32)
    volume[2:5, 2:5, 2:5] = 1.0
    assert without_background(volume)[0, 0, 0] == 0
    assert without_background(volume)[3, 3, 3] == 4.25
    volume[0, 0, 0] = 5.0
    assert without_background(volume) is volume


def test_mask(case: CaseFiles) -> None:
    images = read_case_images(case, ("T1", "FLAIR"))
    labels, box, _ = read_case_mask(case, (0, 1), images)
    np.testing.assert_array_equal(labels, nib.load(case.mask).get_fdata())
    assert box == tuple(slice(0, n) for n in SHAPE)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.full(SHAPE, 7, np.uint8), "unknown label 7"),
        (np.full(SHAPE, 0.5, np.float32), "unknown label 0.5"),
        (np.full(SHAPE, np.nan, np.float32), "unknown label nan"),
        (np.zeros((8, 9, 9), np.uint8), "shape"),
    ],
)
def test_bad_mask(case: CaseFiles, array: np.ndarray, word: str) -> None:
    images = read_case_images(case, ("T1", "FLAIR"))
    assert case.mask is not None
    save(case.mask, array)
    with pytest.raises(InputError, match=word) as caught:
        read_case_mask(case, (0, 1), images)
    assert "patient_7" in str(caught.value)
    assert "mask.nii.gz" in str(caught.value)


def test_brats_case(make_case: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_case(tmp_path, "a")
    files = {"T1": ImageFile(folder / "a_t1.nii.gz")}
    assert read_case_images(CaseFiles("a", files), ("T1",)).volumes[0].shape == (40, 44, 24)
