"""Writes what was predicted of a case: its mask, its picture and, on request, probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wsseg.compression.enlarging import save_enlarged
from wsseg.data.labels import PREDICTED_MASKS, label_map, mask_labels
from wsseg.data.planes import to_planes
from wsseg.data.readers import COLOURS
from wsseg.data.slicing import slices_to_volume
from wsseg.data.spec import DataSpec
from wsseg.prediction.confidence import confidence_of
from wsseg.prediction.dicom_seg import save_dicom_seg
from wsseg.prediction.findings import (
    NOTHING_FOUND,
    Finding,
    count_components,
    describe,
    unit_of,
)
from wsseg.prediction.output import (
    DICOM_SEG,
    PICTURES,
    probability_folder,
    save_mask,
    save_probability,
)
from wsseg.prediction.overview import Shown, overview
from wsseg.prediction.raw import RawCase
from wsseg.visualisation.panels import window_of
from wsseg.visualisation.sheet import save_png


class Prediction(NamedTuple):
    """A case and what was found in it.

    Attributes:
        case: The case.
        probability: What the network says, [S, C, H, W].
        finished: After borders were refined and specks dropped, [S, C, H, W]; above the threshold
            where the masks are.
    """

    case: RawCase
    probability: Tensor
    finished: Tensor


class Written(NamedTuple):
    """What was written of a case.

    Attributes:
        mask: File of its mask.
        findings: Its rows of the table.
        note: Why it does not look like the cases of training; nothing if it does.
    """

    mask: Path
    findings: list[Finding]
    note: str


class Extras(NamedTuple):
    """What is written of each case on request.

    Attributes:
        probabilities: The probabilities of the network.
        dicom_seg: The masks as DICOM segmentation; all images must be DICOM.
    """

    probabilities: bool = False
    dicom_seg: bool = False


def write_prediction(
    prediction: Prediction,
    spec: DataSpec,
    threshold: float,
    output: Path,
    extras: Extras = Extras(),
) -> Written:
    """Write the mask and the picture of one case.

    Args:
        prediction: The case and its probabilities.
        spec: The data specification of the checkpoint.
        threshold: Probability above which a voxel belongs to a class.
        output: Folder to write to.
        extras: What to write on request.

    Raises:
        InputError: No DICOM segmentation can refer to the images.
    """
    case = prediction.case
    masks = case.mask_of(prediction.finished, threshold)
    findings = findings_of(prediction, masks, spec, threshold)
    shown = channel_shown(spec)
    colour = spec.shown == COLOURS
    picture = overview(
        shown_of(prediction, masks, threshold, slice(None) if colour else shown),
        heading="image" if colour or case.source.is_picture else spec.modalities[shown],
        classes=[describe(each) for each in findings],
        title=case.id,
    )
    save_png(picture, output / PICTURES / f"{case.id}.png")
    if extras.probabilities:
        volumes = slices_to_volume(prediction.probability.numpy(), case.geometry)
        for (name, label), volume in zip(mask_labels(spec.classes).items(), volumes, strict=True):
            folder = output / probability_folder(name, label)
            save_probability(volume, case.source, folder, case.id)
    if case.source.grid is not None:
        path = output / PREDICTED_MASKS / f"{case.id}.tif"
        mask = save_enlarged(
            prediction.finished[0], threshold, spec.classes, case.source.grid, path
        )
    else:
        mask = save_mask(label_map(masks, spec.classes), case.source, output, case.id)
    if extras.dicom_seg:
        path = output / DICOM_SEG / f"{case.id}.dcm"
        save_dicom_seg(masks, list(spec.classes), case.path, case.id, path)
    return Written(mask, findings, case.note)


def findings_of(
    prediction: Prediction, masks: NDArray[np.bool_], spec: DataSpec, threshold: float
) -> list[Finding]:
    """Measure what was found of each class.

    Args:
        prediction: The case and its probabilities.
        masks: [C, X, Y, Z] on the voxels of the source.
        spec: The data specification of the checkpoint.
        threshold: Probability above which a voxel belongs to a class.
    """
    case = prediction.case
    unit, voxel = unit_of(case.source)
    found = []
    for channel, (name, label) in enumerate(mask_labels(spec.classes).items()):
        mask = masks[channel]
        inside = (prediction.finished[:, channel] > threshold).numpy()
        finding = Finding(
            case=case.id,
            class_name=name,
            label=label,
            size=np.count_nonzero(mask) * voxel,
            unit=unit,
            components=count_components(mask),
            confidence=confidence_of(prediction.probability[:, channel].numpy(), inside),
            note="; ".join(filter(None, ["" if mask.any() else NOTHING_FOUND, case.note])),
        )
        found.append(finding)
    return found


def channel_shown(spec: DataSpec) -> int:
    """Return the channel that pictures show: FLAIR if there is one, otherwise the first."""
    return spec.flair or 0


def shown_of(
    prediction: Prediction, masks: NDArray[np.bool_], threshold: float, channels: int | slice
) -> Shown:
    """Return what the picture shows of a case.

    A single plane is shown on its own pixels, and so are colours, as they were read. Slices of
    other volumes are shown as the network sees them: cropped, resampled and brought to one scale.

    Args:
        prediction: The case and its probabilities.
        masks: [C, X, Y, Z] on the voxels of the source.
        threshold: Probability above which a voxel belongs to a class.
        channels: The channel to show, or all three colours.
    """
    case, geometry = prediction.case, prediction.case.geometry
    if isinstance(channels, int) and geometry.depth > 1:
        image, valid = case.image[:, channels].numpy(), case.valid.numpy()
        finished = (prediction.finished > threshold).numpy()
        aspect = geometry.spacing[0] / geometry.spacing[1]
        return Shown(image, valid, finished, window_of(image, valid), aspect)
    volumes = np.stack(case.volumes)
    planes = to_planes(volumes, geometry.orientation, geometry.axis)[:, channels]
    if planes.ndim == 4:
        planes = np.moveaxis(planes, 1, -1)
    whole = np.ones(planes.shape[:3], bool)
    return Shown(
        planes,
        whole,
        to_planes(masks, geometry.orientation, geometry.axis),
        _window_of_plane(planes, whole),
        geometry.pixel[0] / geometry.pixel[1],
    )


def _window_of_plane(planes: NDArray[np.generic], whole: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the range of bytes, as viewers show them, and percentiles of other numbers."""
    if planes.dtype == np.uint8:
        return 0.0, 255.0
    return window_of(planes, whole)
