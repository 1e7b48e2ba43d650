"""What a NIfTI header says is taken as it is meant, or refused in one line; nothing is invented."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from wsseg.data.file_checks import check_files, check_spacing
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.preparation import prepare
from wsseg.data.readers import read_header, read_voxels
from wsseg.data.readers.gzipped import MOST_EXTRA_BYTES
from wsseg.data.readers.nifti_header import affine_in_mm
from wsseg.data.store import SliceStore
from wsseg.data.volumes import read_case_images
from wsseg.prediction.nifti import save_volume
from wsseg.utils.errors import InputError

SHAPE = (5, 6, 7)
SIZES = (0.9, 1.1, 2.5)
ORIGIN = (-90.0, 126.5, -72.25)
load = nib.Nifti1Image.from_filename


def image(scale: float = 1.0, unit: str = "mm") -> nib.Nifti1Image:
    """A volume of voxels that are 0.9 x 1.1 x 2.5 mm large, in some unit."""
    affine = np.diag([*SIZES, 1.0])
    affine[:3, 3] = ORIGIN
    affine[:3] *= scale
    array = np.arange(1, 211, dtype=np.int16).reshape(SHAPE)
    made = nib.Nifti1Image(array, affine)
    made.header.set_xyzt_units(unit, "sec")
    return made


def changed(path: Path, **fields: Any) -> Path:
    """Write a volume whose header has other bytes than nibabel would write."""
    raw = bytearray(image().to_bytes())
    header = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)) if path.name.endswith(".gz") else bytes(raw))
    return path


def refused(path: Path) -> str:
    """Return the message about a file, which is the same for its header alone."""
    messages = set()
    for read in (read_voxels, read_header):
        with pytest.raises(InputError) as caught:
            read(path, "ann")
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{path} (case ann): ")
    assert "; " in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("scale", "unit"), [(1.0, "mm"), (1.0, "unknown"), (0.001, "meter"), (1000.0, "micron")]
)
def test_units_become_millimetres(tmp_path: Path, name: str, scale: float, unit: str) -> None:
    nib.save(image(scale, unit), tmp_path / name)
    case = CaseFiles("ann", {"T1": ImageFile(tmp_path / name)})
    images = read_case_images(case, ("T1",))
    np.testing.assert_allclose(images.affine.diagonal()[:3], SIZES, rtol=1e-6)
    np.testing.assert_allclose(images.affine[:3, 3], ORIGIN, rtol=1e-6)
    check_spacing([case], [check_files(case, {"tumour": (1,)}, "axial")], "axial", 0.25)

    mask = load(save_volume(np.ones(SHAPE, np.uint8), images.source, tmp_path / "m.nii.gz"))
    np.testing.assert_array_equal(mask.affine, load(tmp_path / name).affine)
    assert mask.header.get_xyzt_units() == (unit, "sec")
    np.testing.assert_array_equal(affine_in_mm(mask.header), images.affine)


def test_images_of_different_units_may_lie_on_one_grid(tmp_path: Path) -> None:
    nib.save(image(), tmp_path / "t1.nii")
    nib.save(image(0.001, "meter"), tmp_path / "t2.nii")
    places = {name: ImageFile(tmp_path / f"{name.lower()}.nii") for name in ("T1", "T2")}
    read_case_images(CaseFiles("ann", places), ("T1", "T2"))
    nib.save(image(0.001, "mm"), tmp_path / "t2.nii")
    with pytest.raises(InputError, match=r"t2\.nii \(case ann\): affine differs"):
        read_case_images(CaseFiles("ann", places), ("T1", "T2"))


def test_a_store_of_volumes_in_metres_has_millimetres(make_case: Any, tmp_path: Path) -> None:
    for number in range(2):
        folder = make_case(tmp_path / "source", f"case_{number}", seed=number)
        for path in folder.iterdir():
            source = load(path)
            affine = source.affine * [[0.001], [0.001], [0.001], [1]]
            scaled = nib.Nifti1Image(np.asanyarray(source.dataobj), affine)
            scaled.header.set_xyzt_units("meter")
            nib.save(scaled, path)
    store = SliceStore(
        prepare("brats", tmp_path / "source", tmp_path / "store", folds=2, workers=1)
    )
    np.testing.assert_allclose(store.cases["case_0"].spacing, (2.0, 1.0, 1.0), rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf, 1e30, 1e-30, 1000.0])
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1)])
def test_sizes_that_no_voxel_has(tmp_path: Path, size: float, codes: tuple[int, int]) -> None:
    sizes = [1, 1, size, 1, 0, 0, 0, 0]
    form = dict(zip(("qform_code", "sform_code"), codes, strict=True))
    message = refused(changed(tmp_path / "a.nii.gz", pixdim=sizes, **form))
    assert f"has voxels of 1 x {size:g} x 1 mm (`pixdim`)" in message


def test_millimetres_declared_as_metres(tmp_path: Path) -> None:
    assert "has voxels of 900 x 1100 x 2500 mm" in refused(
        changed(tmp_path / "a.nii", xyzt_units=1)
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([0, 0, 0, 0], "has voxels of 0 x 1.1 x 2.5 mm (`affine`)"),
        ([np.nan, 0, 0, 0], "has voxels of nan x 1.1 x 2.5 mm (`affine`)"),
        ([0, 1.1, 0, 0], "has voxels of 0 x "),
        ([1e9, 0, 0, 0], "has voxels of 1e+09 x 1.1 x 2.5 mm (`affine`)"),
        ([0.9, 0, 0, np.nan], "has no usable affine"),
    ],
)
def test_affines_that_describe_no_box(tmp_path: Path, row: list[float], problem: str) -> None:
    assert problem in refused(changed(tmp_path / "a.nii", srow_x=row))


def test_two_axes_in_one_direction(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.nii", srow_x=[1, 1, 0, 0], srow_y=[1, 1, 0, 0])
    assert "has no usable affine" in refused(path)


@pytest.mark.parametrize("field", ["qform_code", "sform_code"])
def test_a_position_of_unknown_kind(tmp_path: Path, field: str) -> None:
    assert f"has the unknown `{field}` 128" in refused(changed(tmp_path / "a.nii", **{field: 128}))


def test_what_does_not_matter_is_not_announced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = changed(tmp_path / "a.nii", bitpix=8, vox_offset=353)
    path.write_bytes(path.read_bytes() + b"\0")
    read_voxels(path, "ann")
    assert capfd.readouterr() == ("", "")


def test_a_unit_that_nifti_does_not_have(tmp_path: Path) -> None:
    assert "has an unknown unit of length" in refused(changed(tmp_path / "a.nii", xyzt_units=5))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("offset", [0, 4, 348, -16, np.nan])
def test_voxels_inside_the_header(tmp_path: Path, name: str, offset: float) -> None:
    assert "says that voxels begin at byte" in refused(changed(tmp_path / name, vox_offset=offset))


@pytest.mark.parametrize("shape", [(0, 6, 7), (-5, 6, 7), (-5, -6, 7)])
def test_shapes_that_no_volume_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert "shape" in refused(changed(tmp_path / "a.nii", dim=[3, *shape, 1, 1, 1, 1]))


def test_names_that_do_not_fit_the_content(tmp_path: Path) -> None:
    nib.save(image(), tmp_path / "a.nii.gz")
    nib.save(image(), tmp_path / "b.nii")
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    (tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    assert "is compressed, but not named so; add .gz to its name" in refused(tmp_path / "a.nii")
    message = refused(tmp_path / "b.nii.gz")
    assert "is not compressed, but named so; rename it to b.nii" in message


def test_a_volume_larger_than_memory(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.nii", dim=[3, 8000, 8000, 8000, 1, 1, 1, 1])
    with path.open("r+b") as stream:
        stream.truncate(352 + 2 * 8000**3)  # of which the disk holds nothing
    read_header(path, "ann")
    with pytest.raises(InputError, match=r"a\.nii \(case ann\): takes more memory than there is; "):
        read_voxels(path, "ann")


PEAK = """
import resource, sys
from pathlib import Path
from wsseg.data.readers import read_voxels
path = Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
_, array = read_voxels(path, "ann")
print((peak() - before) / array.nbytes)
"""


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_a_small_file_takes_no_more_memory_than_its_header_claims(
    tmp_path: Path, kind: type
) -> None:
    shape = (256, 256, 128_000_000 // 256**2 // np.dtype(kind).itemsize)
    made = nib.Nifti1Image(np.zeros(shape, kind), np.eye(4))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(made.to_bytes(), 1))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "a.nii.gz")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, check=True, cwd=root, text=True)
    assert float(done.stdout) < 1.1


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_follows_the_voxels_is_bounded(tmp_path: Path, name: str) -> None:
    path = changed(tmp_path / name)
    content, expected = path.read_bytes(), np.asanyarray(image().dataobj)
    for length, fine in ((1000, True), (2 * MOST_EXTRA_BYTES, False)):
        more = gzip.compress(bytes(length), 1) if name.endswith("z") else bytes(length)
        path.write_bytes(content + more)
        if fine:
            np.testing.assert_array_equal(read_voxels(path, "ann")[1], expected)
            continue
        with pytest.raises(InputError, match=r"holds far more than the 772 bytes that its header"):
            read_voxels(path, "ann")
