"""Masks as DICOM segmentations, which refer to the slices of the series that they lie on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsseg import __version__
from wsseg.data.layouts import CaseFiles
from wsseg.data.readers.dicom import slices_of
from wsseg.utils.errors import InputError, attempt
from wsseg.utils.files import replacing

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

SERIES_NUMBER = 900  # far from those that scanners give
NAME = "wsseg"


def check_highdicom() -> None:
    """Refuse to write DICOM segmentations where the package for it is not installed.

    Raises:
        InputError: It is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise InputError(
            '--dicom_seg true: needs the package highdicom; pip install "wsseg[dicom]"'
        ) from None


def check_dicom(case: CaseFiles) -> CaseFiles:
    """Refuse a case whose first image is not DICOM.

    Raises:
        InputError: It is not.
    """
    path = next(iter(case.images.values())).path
    if isinstance(attempt(slices_of, path, case.id), InputError):
        raise InputError(
            f"{path} (case {case.id}): is not DICOM, to which --dicom_seg could refer; predict it "
            "without that option"
        )
    return case


def save_dicom_seg(
    masks: NDArray[np.bool_], classes: Sequence[str], series: Path, case: str, path: Path
) -> Path:
    """Write the masks of a case as one DICOM segmentation, whole or not at all.

    Each class is a segment of its name, and segments may overlap. Their numbers count from 1, as
    the standard demands.

    Args:
        masks: [C, X, Y, Z] on the voxels of the series.
        classes: Names of the classes.
        series: The series that was segmented, as :mod:`wsseg.data.readers.dicom` reads it.
        case: Id of the case, for messages.
        path: File to write.

    Returns:
        The path.

    Raises:
        InputError: The series lacks what a segmentation must refer to.
    """
    from highdicom import UID
    from highdicom.seg import Segmentation
    from pydicom import dcmread

    places = slices_of(series, case)
    sources = [dcmread(file) for file in dict.fromkeys(file for file, _ in places)]
    frames = masks.transpose(3, 2, 1, 0)  # [slices, rows, columns, segments]
    if len(sources) == 1:  # several frames in the order of the file
        frames = frames[np.argsort([frame for _, frame in places])]
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # it announces empty masks
    with replacing(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that anonymised patients have
        try:
            segmentation = Segmentation(
                source_images=sources,
                pixel_array=frames.astype(np.uint8),
                segmentation_type="BINARY",
                segment_descriptions=_descriptions(classes),
                series_instance_uid=UID(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=UID(),
                instance_number=1,
                manufacturer=NAME,
                manufacturer_model_name=NAME,
                software_versions=__version__,
                device_serial_number="0",
                series_description=f"{NAME}: {', '.join(classes)}"[:64],
            )
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            problem = " ".join(str(error).split())
            raise InputError(
                f"{series} (case {case}): no DICOM segmentation can refer to it ({problem}); use "
                "the mask, or predict without --dicom_seg"
            ) from None
        segmentation.save_as(part)
    return path


def _descriptions(classes: Sequence[str]) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=NAME, version=__version__, family=codes.DCM.ArtificialIntelligence
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(classes, start=1)
    ]
