"""Prediction of DICOM: series are cases, and segmentations lie on them for another reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import pytorch_lightning as pl
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from torch import Tensor

from wsseg.data.spec import DataSpec
from wsseg.models import Finishing
from wsseg.prediction.command import predict
from wsseg.utils.errors import InputError

ROWS, COLUMNS, SLICES = 20, 24, 6
LESION = (slice(14, 20), slice(4, 9), slice(2, 5))  # columns, rows, slices


class Bright(pl.LightningModule):
    """Finds what is bright; of its two classes one is nowhere."""

    threshold = 0.5
    finishing = Finishing(refinement=0.0, smallest_component=0.0)
    spec = DataSpec(("CT",), {"lesion": (2,), "cyst": (5,)}, "axial", None, (32, 32))

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        bright = torch.sigmoid((image[:, :1] - 1) * 6) * valid[:, None]
        return torch.cat([bright, torch.zeros_like(bright)], dim=1)


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsseg.checkpoints.loading.load_module", lambda _: Bright().eval())


def voxels() -> np.ndarray:
    """A volume [columns, rows, slices] of tissue with a bright lesion."""
    shape = (COLUMNS, ROWS, SLICES)
    volume = np.random.default_rng(0).integers(100, 140, shape).astype(np.int16)
    volume[LESION] += 400
    return volume


def truth() -> np.ndarray:
    mask = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    mask[LESION] = 2
    return mask


def write_series(folder: Path, name: str = "CT", **fields: Any) -> Path:
    """Write a series under names that say nothing of the order of its slices."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(SLICES):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.FrameOfReferenceUID, data.SeriesDescription = frame, name
        data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = (
            "A^B",
            "1",
            "",
            "",
        )
        data.StudyDate, data.StudyTime, data.StudyID = "20200101", "120000", "1"
        data.AccessionNumber, data.ReferringPhysicianName, data.Modality = "", "", "CT"
        data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelSpacing, data.SliceThickness = [0.5, 0.25], 2.0
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [10, 20, 2.0 * number]
        data.PixelData = voxels()[:, :, number].T.tobytes()
        for field, value in fields.items():
            delattr(data, field) if value is None else setattr(data, field, value)
        data.save_as(folder / f"{name}{7 * number % 10}", enforce_file_format=True)
    return folder


def run(source: Path, output: Path, **options: Any) -> list[Path]:
    return predict(ckpt_path=Path("any.ckpt"), input=source, output=output, **options)


def test_a_folder_of_files_is_a_case(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "ann" / "scan")
    write_series(tmp_path / "in" / "ben")
    masks = run(tmp_path / "in", tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in masks] == [
        "masks/ann/scan.nii.gz",
        "masks/ben.nii.gz",
    ]
    image = nib.load(masks[0])
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), truth())
    np.testing.assert_allclose(
        image.affine, [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 2, 0], [0, 0, 0, 1]]
    )
    assert [path.name for path in run(tmp_path / "in" / "ben", tmp_path / "one")] == ["ben.nii.gz"]


def test_series_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("T1", "T2"):
        write_series(tmp_path / "in", name)
    masks = run(tmp_path / "in", tmp_path / "out")
    assert len(masks) == 2
    assert all(path.name.startswith("in#") for path in masks)


def test_segmentations_lie_on_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "ann")
    run(tmp_path / "in", tmp_path / "out", dicom_seg=True)
    found = highdicom.seg.segread(tmp_path / "out" / "dicom_seg" / "ann.dcm")
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == ["lesion", "cyst"]
    for segment, number in ((1, 2), (2, 5)):
        expected = np.argwhere(truth() == number)
        volume = found.get_volume(segment_numbers=[segment])
        places = np.argwhere(volume.array[..., 0])
        assert len(places) == len(expected)
        if len(places):
            there = np.c_[places, np.ones(len(places))] @ volume.affine.T
            x, y, z = expected.T
            where = np.c_[10 + 0.25 * x, 20 + 0.5 * y, 2.0 * z]
            np.testing.assert_allclose(
                sorted(there[:, :3].round(3).tolist()), sorted(where.round(3).tolist())
            )


def test_frames_of_an_enhanced_file_may_be_in_any_order(tmp_path: Path) -> None:
    single = write_series(tmp_path / "single")
    data = pydicom.dcmread(next(single.iterdir()))
    order = [3, 0, 5, 1, 4, 2]
    frames, shared = [], Dataset()
    for number in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [10, 20, 2.0 * number]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    turn, sizes = Dataset(), Dataset()
    turn.ImageOrientationPatient = data.ImageOrientationPatient
    sizes.PixelSpacing, sizes.SliceThickness = data.PixelSpacing, 2.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [sizes]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = len(order)
    data.PerFrameFunctionalGroupsSequence = frames
    data.SharedFunctionalGroupsSequence = [shared]
    data.PixelData = voxels().transpose(2, 1, 0)[order].tobytes()
    del data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing
    data.save_as(tmp_path / "ann.dcm", enforce_file_format=True)
    [mask] = run(tmp_path / "ann.dcm", tmp_path / "out", dicom_seg=True)
    np.testing.assert_array_equal(np.asanyarray(nib.load(mask).dataobj), truth())
    found = highdicom.seg.segread(tmp_path / "out" / "dicom_seg" / "ann.dcm")
    volume = found.get_volume(segment_numbers=[1])
    places = np.c_[np.argwhere(volume.array[..., 0]), np.ones(np.count_nonzero(volume.array))]
    assert sorted(set((places @ volume.affine.T)[:, 2].round(3))) == [4.0, 6.0, 8.0]


def test_a_mask_without_anything_is_a_segmentation_too(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "in" / "ann")
    run(folder, tmp_path / "out", dicom_seg=True, threshold=0.9999)
    assert (tmp_path / "out" / "dicom_seg" / "ann.dcm").is_file()


def test_other_formats_have_no_segmentation(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "ann")
    nib.save(nib.Nifti1Image(voxels(), np.eye(4)), tmp_path / "in" / "ben.nii.gz")
    with pytest.raises(InputError, match=r"ben.nii.gz \(case ben\): is not DICOM") as caught:
        run(tmp_path / "in", tmp_path / "out", dicom_seg=True)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / "dicom_seg" / "ann.dcm").is_file()


def test_a_series_that_lacks_what_segmentations_need(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "ann", StudyInstanceUID=None)
    with pytest.raises(InputError, match=r"ann \(case ann\): no DICOM segmentation can refer"):
        run(tmp_path / "in", tmp_path / "out", dicom_seg=True)


def test_the_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r'--dicom_seg true: .*pip install "wsseg\[dicom\]"'):
        run(write_series(tmp_path / "in"), tmp_path / "out", dicom_seg=True)


def test_a_patient(tmp_path: Path, shared_data: Path) -> None:
    series = shared_data / "prostatex-dicom" / "ProstateX-0000" / "t2w"
    [mask] = run(series, tmp_path, dicom_seg=True)
    labels = np.asanyarray(nib.load(mask).dataobj)
    found = highdicom.seg.segread(tmp_path / "dicom_seg" / "t2w.dcm")
    array = found.get_volume(segment_numbers=[1]).array
    assert np.count_nonzero(array) == np.count_nonzero(labels == 2) > 0
