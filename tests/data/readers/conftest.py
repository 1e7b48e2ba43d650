"""Images in many formats, written by other programs' libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = "1.2.3.4"


@pytest.fixture
def write_slice() -> Callable[..., Path]:
    """A function that writes a DICOM file of 4 rows and 5 columns at a height of its own."""

    def write(path: Path, height: float = 0.0, **fields: object) -> Path:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.SeriesInstanceUID, data.SeriesDescription = SERIES, "thin"
        data.Rows, data.Columns, data.SamplesPerPixel = 4, 5, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelSpacing = [0.5, 0.25]  # of rows, of columns
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [10, 20, height]
        pixels = np.arange(20, dtype=np.int16) + np.int16(100 * height)
        data.PixelData = pixels.tobytes()
        for name, value in fields.items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def write_series(write_slice: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes a folder of slices under names that say nothing of their order."""

    def write(folder: Path, heights: list[float], **fields: object) -> Path:
        for number, height in enumerate(heights):
            write_slice(folder / f"IM{7 * number % 10}{number}", height, **fields)
        return folder

    return write
