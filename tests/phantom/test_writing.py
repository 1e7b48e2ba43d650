"""The phantom on disk: layout, placement, repeatability, resuming, refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from wsseg.phantom import write_phantom
from wsseg.phantom import writing as module
from wsseg.utils.errors import InputError

SPACING = 4.0


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.nii.gz"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    return write_phantom(out, cases=3, seed=4, spacing=SPACING, workers=2)


def test_layout_is_that_of_brats(phantom: Path) -> None:
    names = sorted(p.name for p in phantom.glob("[!.]*"))
    assert names == ["phantom_0000", "phantom_0001", "phantom_0002"]
    for name in names:
        files = {p.name for p in (phantom / name).iterdir()}
        kinds = ("t1", "t1ce", "t2", "flair", "seg")
        assert files == {f"{name}_{kind}.nii.gz" for kind in kinds}


def test_files_hold_what_they_should(phantom: Path) -> None:
    for path in phantom.rglob("*.nii.gz"):
        image = nibabel.load(path)
        kind = np.uint8 if path.name.endswith("_seg.nii.gz") else np.int16
        assert image.get_data_dtype() == kind
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.header.get_zooms(), [SPACING] * 3)
        assert image.header.get_xyzt_units()[0] == "mm"


def test_a_second_reader_sees_the_same_places(phantom: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = phantom / "phantom_0000" / "phantom_0000_flair.nii.gz"
    ours, theirs = nibabel.load(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(theirs).transpose(2, 1, 0), np.asarray(ours.dataobj)
    )
    for voxel in ([0, 0, 0], [5, 9, 13]):
        lps = np.array(theirs.TransformIndexToPhysicalPoint(voxel))
        ras = (ours.affine @ [*voxel, 1])[:3]
        np.testing.assert_allclose(lps * [-1, -1, 1], ras, atol=1e-4)


def test_bytes_do_not_depend_on_workers_or_number_of_cases(phantom: Path, tmp_path: Path) -> None:
    alone = write_phantom(tmp_path / "a", cases=2, seed=4, spacing=SPACING, workers=1)
    expected = {k: v for k, v in _hashes(phantom).items() if not k.startswith("phantom_0002")}
    assert _hashes(alone) == expected


def test_it_goes_on_where_it_stopped(phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    write_phantom(out, cases=1, seed=4, spacing=SPACING)
    (out / ".phantom_0001.partial").mkdir()  # as a killed run leaves it
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    write_phantom(out, cases=3, seed=4, spacing=SPACING)
    assert kept
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert _hashes(out) == _hashes(phantom)
    assert not list(out.glob(".*.partial"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("cases", 0), ("seed", -1), ("spacing", 0.1), ("spacing", float("nan")), ("workers", 0)],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, name: str, value: float
) -> None:
    arguments = {"cases": 1, "seed": 0, "spacing": SPACING, name: value}
    with pytest.raises(InputError, match=name):
        write_phantom(tmp_path / "data", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        write_phantom(tmp_path, cases=1, spacing=SPACING)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write_phantom(path, cases=1, spacing=SPACING)


def test_a_phantom_of_another_seed_or_size_is_refused(tmp_path: Path) -> None:
    out = write_phantom(tmp_path / "data", cases=2, seed=0, spacing=8.0)
    before = _hashes(out)
    with pytest.raises(InputError, match="seed"):
        write_phantom(out, cases=2, seed=1, spacing=8.0)
    with pytest.raises(InputError, match="phantom_0001"):
        write_phantom(out, cases=1, seed=0, spacing=8.0)
    assert _hashes(out) == before


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    out = write_phantom(tmp_path / "data", cases=1, spacing=8.0)
    (out / module.PHANTOM_RECORD).write_text("{")
    with pytest.raises(InputError, match="not readable"):
        write_phantom(out, cases=1, spacing=8.0)


def test_a_failure_leaves_no_half_written_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_phantom(tmp_path / "data", cases=2, spacing=8.0, workers=1)
    assert [p.name for p in (tmp_path / "data").iterdir()] == [module.PHANTOM_RECORD]
