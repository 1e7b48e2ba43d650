"""The same voxels are read at the same place of the body from every format of volumes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.readers.volumes import TURNS, check_same, volume
from wsseg.data.hashes import hash_case
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.readers import files_of, is_readable, read_header, read_voxels, stem
from wsseg.utils.errors import InputError

ENDINGS = ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "hdr", "img", "mgh", "mgz")
KINDS = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64)


def write(path: Path, image: sitk.Image, *, packed: bool = False) -> Path:
    """Write a volume by SimpleITK, or by nibabel where that knows no such format."""
    if path.suffix not in (".mgh", ".mgz"):
        sitk.WriteImage(
            image, str(path.with_suffix(".hdr") if path.suffix == ".img" else path), packed
        )
        return path
    turn = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine = nib.affines.from_matvec(
        np.diag([-1, -1, 1]) @ turn, np.array([-1, -1, 1]) * image.GetOrigin()
    )
    nib.save(nib.MGHImage(sitk.GetArrayFromImage(image).T, affine), path)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ending=st.sampled_from(ENDINGS),
    kind=st.sampled_from(KINDS),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    turn=st.sampled_from(TURNS).flatmap(st.permutations).map("".join),
    packed=st.booleans(),
)
def test_the_same_voxels_at_the_same_place(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    kind: Any,
    size: tuple[int, int, int],
    turn: str,
    packed: bool,
) -> None:
    if ending.startswith("mg") and kind in (np.int8, np.uint16, np.float64):
        kind = np.float32  # FreeSurfer has no such types
    folder = tmp_path_factory.mktemp("volumes")
    image = volume(kind, size, turn)
    check_same(
        write(folder / f"a.{ending}", image, packed=packed and ending not in ("hdr", "img")), image
    )


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd", "nii"])
def test_vectors_are_channels(tmp_path: Path, ending: str) -> None:
    array = np.random.default_rng(0).integers(0, 99, (7, 6, 5, 3)).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(path))
    header, read = read_voxels(path, "ann")
    assert (header.shape, header.channels) == ((5, 6, 7), 3)
    assert header.names == (() if ending == "nii" else ("red", "green", "blue"))
    np.testing.assert_array_equal(read, array.transpose(2, 1, 0, 3))


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz", "mgz"])
def test_a_fourth_axis_is_that_of_channels(tmp_path: Path, ending: str) -> None:
    array = np.random.default_rng(0).integers(0, 99, (2, 7, 6, 5)).astype(np.int16)
    path = tmp_path / f"a.{ending}"
    if ending == "mgz":
        nib.save(nib.MGHImage(array.T, np.eye(4)), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    header, read = read_voxels(path, "ann")
    assert (header.shape, header.channels, header.names) == ((5, 6, 7), 2, ())
    np.testing.assert_array_equal(read, array.T)


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz"])
def test_a_plane_is_a_volume(tmp_path: Path, ending: str) -> None:
    array = np.arange(30, dtype=np.int16).reshape(6, 5)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 2))
    sitk.WriteImage(image, str(tmp_path / f"a.{ending}"))
    header, read = read_voxels(tmp_path / f"a.{ending}", "ann")
    np.testing.assert_array_equal(read[..., 0], array.T)
    np.testing.assert_allclose(np.abs(header.affine.diagonal()), (0.5, 2, 1, 1))
    assert not header.is_picture


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("um", 1e-3), ("cm", 10)])
def test_units_of_nrrd(tmp_path: Path, unit: str, scale: float) -> None:
    path = write(tmp_path / "a.nhdr", volume())
    lines = path.read_text().splitlines()
    units = " ".join([f'"{unit}"'] * 3)
    spaced = [*lines, f"space units: {units}"]
    path.write_text("\n".join([*spaced[:-2], spaced[-1], spaced[-2], ""]))  # before the data
    sizes = np.linalg.norm(read_header(path, "ann").affine[:3, :3], axis=0)
    np.testing.assert_allclose(sizes, np.array((0.75, 1.25, 2.5)) * scale)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_voxels(path, "ann")
    message = str(caught.value)
    assert message.startswith((f"{path} (case ann): ", f"{path.with_suffix('.img')} (case ann): "))
    assert "; " in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"text", bytes(2000), None])
def test_no_volumes(tmp_path: Path, ending: str, content: bytes | None) -> None:
    path = tmp_path / f"a.{ending}"
    if content is not None:
        path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_volumes(tmp_path: Path, ending: str, share: float, packed: bool) -> None:
    write(tmp_path / f"a.{ending}", volume(size=(20, 20, 20)), packed=packed)
    largest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd", "mgz", "nii.gz"])
def test_flipped_bits_of_compressed_volumes(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a.{ending}", volume(size=(20, 20, 20)), packed=True)
    largest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    largest.write_bytes(content)
    refused(tmp_path / f"a.{ending}")


def test_voxels_of_no_size(tmp_path: Path) -> None:
    image = volume()
    image.SetSpacing((0.75, 1.25, 2500))
    for ending in ("nrrd", "mha", "mgz"):
        assert "has voxels of 0.75 x 1.25 x 2500 mm" in refused(
            write(tmp_path / f"a.{ending}", image)
        )


def test_complex_voxels(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "a.nii")
    assert "unusable voxels" in refused(tmp_path / "a.nii")


def test_half_of_a_pair_and_pairs_of_analyze(tmp_path: Path) -> None:
    for half in ("hdr", "img"):
        write(tmp_path / "a.hdr", volume())
        (tmp_path / f"a.{half}").unlink()
        for path in (tmp_path / "a.hdr", tmp_path / "a.img"):
            if path.exists():
                assert (
                    f"is half of a .hdr/.img pair, and {tmp_path / 'a'}.{half} is missing"
                    in refused(path)
                )
    nib.save(nib.AnalyzeImage(np.ones((3, 4, 5), np.int16), np.eye(4)), tmp_path / "b.img")
    assert "which does not tell left from right" in refused(tmp_path / "b.hdr")


def test_all_files_of_a_volume_are_hashed(tmp_path: Path) -> None:
    for ending, data in (("nhdr", "raw"), ("mhd", "raw"), ("hdr", "img")):
        path = write(tmp_path / f"a.{ending}", volume())
        assert [file.name for file in files_of(path)] == [f"a.{ending}", f"a.{data}"]
        case = CaseFiles("ann", {"T1": ImageFile(path)})
        before = hash_case(case)
        content = bytearray((tmp_path / f"a.{data}").read_bytes())
        content[9] ^= 1
        (tmp_path / f"a.{data}").write_bytes(content)
        assert hash_case(case) != before


def test_what_names_are_those_of_images(tmp_path: Path) -> None:
    for name in (
        "a.nii",
        "a.NII.GZ",
        "a.mgz",
        "a.nrrd",
        "a.mhd",
        "a.hdr",
        "a.dcm",
        "a.jpeg",
        "a.tif",
    ):
        assert is_readable(tmp_path / name), name
        assert stem(tmp_path / name) == "a"
    for name in ("a.raw", "a.csv", "a", "a.img", "a.gz"):
        (tmp_path / name).write_text("text")
        assert not is_readable(tmp_path / name), name
    assert "is not a readable image of a known format" in refused(tmp_path / "a.csv")
    assert not is_readable(tmp_path)


def test_a_volume_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", volume())
    for ending in ("nrrd", "mgz", "png", "tif", "dcm"):
        (tmp_path / f"b.{ending}").write_bytes((tmp_path / "a.nii").read_bytes())
        refused(tmp_path / f"b.{ending}")
    (tmp_path / "c.mgz").write_bytes(gzip.compress(b"short"))
    assert "is truncated" in refused(tmp_path / "c.mgz")
