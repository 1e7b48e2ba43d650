"""DICOM series are found whatever their files are called, put in order, and never guessed."""

from __future__ import annotations

import locale
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from tests.data.readers.volumes import TURNS, check_same, volume
from wsseg.data.hashes import hash_case
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.readers import files_of, images_in, is_readable, read_header, read_voxels
from wsseg.data.readers.dicom import described
from wsseg.utils.errors import InputError

PROSTATES = Path("/work/shared/data/prostatex-dicom")
Write = Callable[..., Path]


def refused(path: Path, named: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_voxels(path, "ann")
    message = str(caught.value)
    assert message.startswith(f"{named or path} (case ann): ")
    assert "; " in message
    assert "\n" not in message
    return message


def sample(name: str) -> str:
    """Return a file that ships with pydicom; nothing is downloaded."""
    found = get_testdata_file(name, download=False)
    assert found is not None
    return str(found)


def test_slices_are_ordered_by_place(tmp_path: Path, write_series: Write) -> None:
    heights = [3.0, -1.0, 5.0, 1.0]
    header, array = read_voxels(write_series(tmp_path / "a", heights), "ann")
    assert (header.shape, header.channels, header.unit) == ((5, 4, 4), 1, "mm")
    np.testing.assert_allclose(
        header.affine, [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 2, -1], [0, 0, 0, 1]]
    )
    plane = np.arange(20).reshape(4, 5).T[..., None]
    np.testing.assert_array_equal(array, plane + 100 * np.array(sorted(heights)))
    np.testing.assert_array_equal(read_header(tmp_path / "a", "ann").affine, header.affine)


def test_any_names_and_other_files(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a" / "SUB" / "DEEP", [0.0, 2.0, 4.0])
    for name in ("report.txt", "DICOMDIR", ".hidden"):
        (tmp_path / "a" / name).write_text("text")
    shutil.copy(sample("DICOMDIR"), tmp_path / "a" / "DICOMDIR")
    shutil.copy(sample("reportsi.dcm"), tmp_path / "a" / "SUB" / "report.dcm")
    header, _ = read_voxels(tmp_path / "a", "ann")
    assert header.shape == (5, 4, 3)
    assert len(files_of(tmp_path / "a")) == 3
    deep = tmp_path / "a" / "SUB" / "DEEP"
    assert images_in(deep) == [deep]
    assert is_readable(min(deep.iterdir()))
    assert not images_in(tmp_path / "a")


@pytest.fixture
def same_locale() -> Iterator[None]:
    """SimpleITK changes the locale when it writes DICOM, and with it how later tests read text."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("same_locale")
@pytest.mark.parametrize("turn", TURNS)
def test_orientations_as_another_program_writes_them(tmp_path: Path, turn: str) -> None:
    image = volume(np.int16, (4, 5, 6), turn)
    if np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0:  # which DICOM cannot say
        image = image[:, :, ::-1]
    direction = image.GetDirection()
    for number in range(image.GetDepth()):
        plane = image[:, :, number]
        plane = sitk.JoinSeries(plane)
        tags = {
            "0008|0060": "MR",
            "0020|000e": "1.2.3",
            "0020|0032": "\\".join(map(str, image.TransformIndexToPhysicalPoint((0, 0, number)))),
            "0020|0037": "\\".join(str(direction[n]) for n in (0, 3, 6, 1, 4, 7)),
        }
        for key, value in tags.items():
            plane.SetMetaData(key, value)
        plane.SetSpacing(image.GetSpacing())
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(tmp_path / f"{5 - number}.dcm"))
        writer.Execute(plane)
    check_same(tmp_path, image)


def test_several_series(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a" / "c", [0.0, 2.0, 4.0])
    write_series(
        tmp_path / "a" / "b", [0.0, 5.0], SeriesInstanceUID="1.9", SeriesDescription="thick"
    )
    message = refused(tmp_path / "a")
    assert "holds several series; write # and" in message
    assert "'thin' of 3 files (1.2.3.4)" in message
    assert "'thick' of 2 files (1.9)" in message
    for name, depth in (("thin", 3), ("1.2.3.4", 3), ("thick", 2), ("1.9", 2)):
        path = tmp_path / f"a#{name}"
        assert read_voxels(path, "ann")[0].shape == (5, 4, depth)
        assert len(files_of(path)) == depth
        hash_case(CaseFiles("ann", {"CT": ImageFile(path)}))
    assert "holds no series 'T1'" in refused(tmp_path / "a#T1", tmp_path / "a")
    assert "does not exist" in refused(tmp_path / "b#thin", tmp_path / "b")


def test_folders_whose_names_hold_the_mark(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ward #3" / "a#b", [0.0, 2.0], SeriesDescription="T2 #1")
    more = write_series(tmp_path / "more", [0.0, 2.0, 4.0], SeriesInstanceUID="1.9")
    for file in list(more.iterdir()):
        file.rename(folder / f"more_{file.name}")
    for series, depth in (("T2 #1", 2), ("1.9", 3)):
        path = folder.with_name(f"a#b#{series}")
        assert is_readable(path)
        assert read_header(path, "ann").shape == (5, 4, depth)


def test_images_of_a_folder(tmp_path: Path, write_series: Write, write_slice: Write) -> None:
    folder = write_series(tmp_path / "a", [0.0, 2.0])
    assert images_in(folder) == [folder]
    write_slice(folder / "x-ray.dcm", ImagePositionPatient=None)
    write_slice(folder / "plan.dcm", SeriesInstanceUID="1.8")
    write_slice(folder / "thick_0", SeriesInstanceUID="1.9")
    write_slice(folder / "thick_1", 9.0, SeriesInstanceUID="1.9")
    (folder / "broken.dcm").write_text("text")
    (folder / "photograph.png").touch()
    found = {path.relative_to(tmp_path).as_posix() for path in images_in(folder)}
    files = {f"a/{name}" for name in ("x-ray.dcm", "plan.dcm", "broken.dcm", "photograph.png")}
    assert found == files | {"a#1.2.3.4", "a#1.9"}
    assert is_readable(tmp_path / "a#1.9")
    (folder / "broken.dcm").unlink()
    assert read_voxels(tmp_path / "a#1.9", "ann")[0].shape == (5, 4, 2)


def test_descriptions_of_series(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a", [0.0, 2.0])
    assert described(tmp_path / "a") is None
    assert described(tmp_path / "a#1.2.3.4") == (tmp_path / "a", "thin")
    write_series(tmp_path / "b", [0.0, 2.0], SeriesDescription=None)
    assert described(tmp_path / "b#1.2.3.4") is None


def test_series_of_one_description(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a" / "b", [0.0, 2.0])
    write_series(tmp_path / "a" / "c", [0.0, 2.0], SeriesInstanceUID="1.9")
    assert "holds several series" in refused(tmp_path / "a#thin", tmp_path / "a")
    assert read_voxels(tmp_path / "a#1.9", "ann")[0].shape == (5, 4, 2)


@pytest.mark.parametrize(
    ("heights", "problem"),
    [
        ([0.0, 2.0, 2.0, 4.0], "has several slices at one place, such as"),
        ([1.0, 1.0], "has several slices at one place"),
        ([0.0, 2.0, 6.0, 8.0], "has slices 2 to 4 mm apart, the most between"),
        ([0.0, 1.0, 3.0, 6.0], "has slices 1 to 3 mm apart"),
    ],
)
def test_slices_that_make_no_volume(
    tmp_path: Path, write_series: Write, heights: list[float], problem: str
) -> None:
    assert problem in refused(write_series(tmp_path / "a", heights))


def test_rounded_places_are_accepted(tmp_path: Path, write_series: Write) -> None:
    header, _ = read_voxels(write_series(tmp_path / "a", [0.0, 0.67, 1.33, 2.0]), "ann")
    np.testing.assert_allclose(header.affine[2, 2], 2 / 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        {"PixelSpacing": [0.5, 0.5]},
        {"Rows": 5, "Columns": 4},
    ],
)
def test_slices_of_several_sorts(
    tmp_path: Path, write_slice: Write, write_series: Write, fields: dict[str, object]
) -> None:
    write_series(tmp_path / "a", [0.0, 2.0, 4.0])
    write_slice(tmp_path / "a" / "localizer", 9.0, **fields)
    assert "has slices of several directions, sizes or spacings" in refused(tmp_path / "a")


def test_a_tilted_gantry(tmp_path: Path, write_slice: Write) -> None:
    for number in range(4):
        write_slice(tmp_path / str(number), ImagePositionPatient=[10, 20 + number, 3 * number])
    affine = read_header(tmp_path, "ann").affine
    np.testing.assert_allclose(affine[:3, 2], [0, -1, 3])


def test_one_slice_is_a_volume_if_it_says_its_place(tmp_path: Path, write_slice: Write) -> None:
    header = read_header(write_slice(tmp_path / "a.dcm", 7.0, SliceThickness=4), "ann")
    assert (header.shape, header.unit) == ((5, 4, 1), "mm")
    np.testing.assert_allclose(header.affine[:, 2:], [[0, -10], [0, -20], [4, 7], [0, 1]])
    path = write_slice(tmp_path / "b.dcm", ImagePositionPatient=None)
    assert read_header(path, "ann").is_picture
    write_slice(tmp_path / "c" / "1", ImagePositionPatient=None)
    write_slice(tmp_path / "c" / "2", 3.0)
    assert "has slices that say no place" in refused(tmp_path / "c")


def test_slope_and_intercept_of_each_slice(tmp_path: Path, write_slice: Write) -> None:
    for number, slope in enumerate((0.5, 2.0)):
        write_slice(
            tmp_path / str(number), 2.0 * number, RescaleSlope=slope, RescaleIntercept=-1024
        )
    _, array = read_voxels(tmp_path, "ann")
    assert array.dtype == np.float32
    plane = np.arange(20).reshape(4, 5).T
    np.testing.assert_allclose(array[..., 0], plane * 0.5 - 1024)
    np.testing.assert_allclose(array[..., 1], (plane + 200) * 2 - 1024)


def test_white_is_least(tmp_path: Path, write_slice: Write) -> None:
    unsigned = {"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}
    path = write_slice(tmp_path / "a", PhotometricInterpretation="MONOCHROME1", **unsigned)
    np.testing.assert_array_equal(
        read_voxels(path, "ann")[1][..., 0], 4095 - np.arange(20).reshape(4, 5).T
    )


def enhanced(path: Path, write_slice: Write, heights: list[float], slopes: list[float]) -> Path:
    """Write a file of several frames, each with a place and a slope of its own."""

    def group(name: str, **fields: object) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for key, value in fields.items():
            setattr(inner, key, value)
        setattr(outer, name, Sequence([inner]))
        return outer

    frames = []
    for height, slope in zip(heights, slopes, strict=True):
        frame = group("PlanePositionSequence", ImagePositionPatient=[10, 20, height])
        frame.update(
            group("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=1)
        )
        frames.append(frame)
    shared = group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.update(group("PixelMeasuresSequence", PixelSpacing=[0.5, 0.25], SliceThickness=2))
    pixels = np.concatenate([np.arange(20, dtype=np.int16) + int(100 * h) for h in heights])
    return write_slice(
        path,
        SOPClassUID=EnhancedMRImageStorage,
        NumberOfFrames=len(heights),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PixelData=pixels.astype(np.int16).tobytes(),
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
    )


def test_an_enhanced_file_of_several_frames(tmp_path: Path, write_slice: Write) -> None:
    path = enhanced(tmp_path / "a.dcm", write_slice, [4.0, 0.0, 2.0], [1.0, 2.0, 3.0])
    header, array = read_voxels(path, "ann")
    np.testing.assert_allclose(
        header.affine, [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 2, 0], [0, 0, 0, 1]]
    )
    plane = np.arange(20).reshape(4, 5).T[..., None]
    np.testing.assert_allclose(array, (plane + np.array((0, 200, 400))) * [2, 3, 1] + 1)
    two = enhanced(tmp_path / "b.dcm", write_slice, [0.0, 0.0], [1.0, 1.0])
    assert "has several slices at one place" in refused(two)


def test_a_film(tmp_path: Path) -> None:
    path = Path(shutil.copy(sample("examples_ybr_color.dcm"), tmp_path / "a.dcm"))
    assert "is a film of 30 frames" in refused(path)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("examples_rgb_color.dcm", (320, 240)),
        ("examples_palette.dcm", (800, 350)),
        ("examples_jpeg2k.dcm", (640, 480)),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100)),
        ("SC_rgb_rle.dcm", (100, 100)),
        ("ExplVR_BigEnd.dcm", (80, 60)),
    ],
)
def test_colour_pictures(name: str, size: tuple[int, int]) -> None:
    header, array = read_voxels(Path(sample(name)), "ann")
    assert (header.shape, header.names) == ((*size, 1), ("red", "green", "blue"))
    assert header.is_picture
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(sample(name)))[0].swapaxes(0, 1)
    ours = array[:, :, 0] // (256 if array.dtype == np.uint16 else 1)
    assert np.abs(ours.astype(int) - theirs).max() <= 4  # rounding of other colour models


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_every_packing_holds_the_same_voxels(name: str, recwarn: pytest.WarningsRecorder) -> None:
    plain, array = read_voxels(Path(sample("MR_small.dcm")), "ann")
    header, read = read_voxels(Path(sample(name)), "ann")
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(header.affine, plain.affine)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm", "MR_small.dcm"])
def test_the_same_as_another_program_reads(name: str) -> None:
    check_same(Path(sample(name)), sitk.ReadImage(sample(name)))


@pytest.mark.skipif(not PROSTATES.is_dir(), reason="the PROSTATEx patients are not here")
@pytest.mark.parametrize("patient", ["ProstateX-0000", "ProstateX-0001"])
@pytest.mark.parametrize("series", ["t2w", "adc", "hbv"])
def test_patients(patient: str, series: str) -> None:
    folder = PROSTATES / patient / series
    if not folder.is_dir():
        pytest.skip("this patient is not here")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    check_same(folder, sitk.ReadImage(files))
    assert images_in(folder) == [folder]


@pytest.mark.skipif(not PROSTATES.is_dir(), reason="the PROSTATEx patients are not here")
def test_all_series_of_a_patient() -> None:
    patient = min(PROSTATES.glob("ProstateX-*"))
    assert "holds several series" in refused(patient)


@pytest.mark.parametrize("content", [b"", b"text", bytes(500), bytes(128) + b"DICM", None])
def test_no_dicom(tmp_path: Path, write_series: Write, content: bytes | None) -> None:
    path = tmp_path / "a.dcm"
    if content is not None:
        path.write_bytes(content)
    refused(path)
    if content is not None and not content.endswith(b"DICM"):  # which is the start of a report
        shutil.copytree(write_series(tmp_path / "b", [0.0, 2.0]), tmp_path, dirs_exist_ok=True)
        shutil.rmtree(tmp_path / "b")
        refused(tmp_path, path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_truncated_files(tmp_path: Path, name: str, share: float) -> None:
    content = Path(sample(name)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "a.dcm")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    assert "holds no DICOM image" in refused(tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    assert "holds no DICOM image" in refused(tmp_path)


def test_values_that_break_the_standard(tmp_path: Path, write_slice: Write) -> None:
    data = pydicom.dcmread(write_slice(tmp_path / "a.dcm"))
    data.PixelSpacing = [0, 0]
    data.save_as(tmp_path / "a.dcm")
    assert "has voxels of 0 x 0 x 1 mm" in refused(tmp_path / "a.dcm")
