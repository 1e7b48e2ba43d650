"""Sheets of slices: image, activation, cluster map, prediction and true mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsseg.visualisation import panels
from wsseg.visualisation.colours import (
    IRRELEVANT,
    PREDICTION,
    RELEVANT,
    TRUTH,
    Colour,
    class_colour,
)
from wsseg.visualisation.panels import Picture, Plane
from wsseg.visualisation.sheet import Legend, contact_sheet

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SliceRow:
    """One slice, which becomes a row of a sheet.

    Attributes:
        label: Text beside the row.
        image: [M, H, W].
        valid: [H, W] bool.
        activation: [C, h, w] in [0, 1].
        targets: Targets such as a cluster map, [C, h, w], -1 where ignored; or None.
        truth: True masks, [C, H, W] bool; or None.
    """

    label: str
    image: Array
    valid: NDArray[np.bool_]
    activation: Array
    targets: Array | None = None
    truth: NDArray[np.bool_] | None = None


def slice_sheet(
    slices: Sequence[SliceRow],
    modalities: Sequence[str],
    classes: Sequence[str],
    *,
    title: str = "",
    threshold: float = 0.5,
    height: int = 192,
    aspect: float = 1.0,
    headings: tuple[str, str] = ("CAM", "cluster map"),
) -> Picture:
    """Draw slices, one in each row.

    The columns are the modalities, the activation and the targets of every class, the prediction
    and the truth; columns that no slice has are left out. With a single class, the outline of the
    truth is also drawn on the prediction.

    Args:
        slices: The slices.
        modalities: Names of the first image channels, which are drawn.
        classes: Names of the classes.
        title: Title of the picture.
        threshold: Activation above which a pixel counts as predicted.
        height: Height of each panel in pixels.
        aspect: Height of a pixel of the slices over its width.
        headings: Names of the activation and of the targets.

    Returns:
        The picture [height, width, 3] ``uint8``.
    """
    with_targets = any(one.targets is not None for one in slices)
    with_truth = any(one.truth is not None for one in slices)
    names = list(classes) if len(classes) > 1 else [""]
    activation, targets = headings
    columns = [*modalities, *(f"{activation} {name}".strip() for name in names)]
    columns += [f"{targets} {name}".strip() for name in names] if with_targets else []
    columns += ["prediction", "truth"] if with_truth else ["prediction"]
    shape = (height, aspect)
    slices = [replace(one, image=one.image[: len(modalities)]) for one in slices]
    rows = [_row(one, with_targets, with_truth, threshold, shape) for one in slices]
    colours = _mask_legend(classes, with_truth)
    if with_targets:
        colours += [("relevant", RELEVANT), ("irrelevant", IRRELEVANT)]
    legend = Legend(colours, "class activation" if activation == "CAM" else activation)
    return contact_sheet(rows, columns, [one.label for one in slices], title=title, legend=legend)


def _row(
    row: SliceRow,
    with_targets: bool,
    with_truth: bool,
    threshold: float,
    shape: tuple[int, float],
) -> list[Picture]:
    height, aspect = shape
    size, box = row.valid.shape, panels.valid_box(row.valid, aspect=aspect)
    inside = row.valid[box]
    ground = [panels.grey(plane[box], inside, height=height, aspect=aspect) for plane in row.image]
    base = ground[0]

    def cut(planes: Plane) -> list[Array]:
        """Resize planes to the slice's resolution, and crop them."""
        return [panels.resized(plane, size)[box] for plane in planes]

    activation = cut(row.activation)
    pictures = [*ground, *(panels.heat(base, plane) for plane in activation)]
    if with_targets:
        pictures += _target_panels(base, row, box)
    masks = np.stack(activation) > threshold
    truth = None if row.truth is None else np.stack(cut(row.truth))
    return pictures + _mask_panels(base, masks, truth)[: 1 + with_truth]


def _mask_panels(base: Picture, masks: Plane, truth: Plane | None) -> list[Picture]:
    prediction = panels.class_overlays(base, masks)
    if truth is None:
        return [prediction, base]
    if len(masks) > 1:
        return [prediction, panels.class_overlays(base, truth)]
    prediction = panels.outline(prediction, truth[0], TRUTH, width=1.2)
    return [prediction, panels.overlay(base, truth[0], TRUTH)]


def _mask_legend(classes: Sequence[str], with_truth: bool) -> list[tuple[str, Colour]]:
    if len(classes) > 1 or not with_truth:
        return [(name, class_colour(number)) for number, name in enumerate(classes)]
    return [(f"predicted {classes[0]}", PREDICTION), (f"true {classes[0]}", TRUTH)]


def _target_panels(base: Picture, row: SliceRow, box: tuple[slice, slice]) -> list[Picture]:
    count, size = len(row.activation), row.valid.shape
    if row.targets is None:
        return [base] * count
    valid = row.valid[box]
    # Nearest neighbours: interpolation would blend -1 (ignore) with other values.
    rows = np.arange(size[0]) * row.targets.shape[-2] // size[0]
    columns = np.arange(size[1]) * row.targets.shape[-1] // size[1]
    planes = row.targets[:, rows][:, :, columns]
    return [panels.targets(base, plane[box], valid) for plane in planes]
