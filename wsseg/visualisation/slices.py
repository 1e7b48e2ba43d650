"""Slices with all that is known of them: image, activation, cluster map, prediction, truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
class SliceView:
    """One row of a sheet, as planes of one slice.

    Attributes:
        label: Text beside the row.
        image: [M, H, W].
        valid: [H, W] bool.
        activation: [C, h, w] in [0, 1].
        targets: Such as a cluster map, [C, h, w], -1 where ignored, or None.
        truth: [C, H, W] bool, or None.
    """

    label: str
    image: Array
    valid: NDArray[np.bool_]
    activation: Array
    targets: Array | None = None
    truth: NDArray[np.bool_] | None = None


def slice_sheet(
    views: Sequence[SliceView],
    modalities: Sequence[str],
    classes: Sequence[str],
    *,
    title: str = "",
    threshold: float = 0.5,
    height: int = 192,
    aspect: float = 1.0,
    headings: tuple[str, str] = ("CAM", "cluster map"),
) -> Picture:
    """Draw slices with all that is known of them.

    Columns: every modality, the activation and the targets of every class, the prediction and the
    truth, each only where some row has it. With a single class, the prediction also bears the
    outline of the truth.

    Args:
        views: The slices, one row each.
        modalities: Names of the image channels.
        classes: Names of the classes.
        title: Title of the picture.
        threshold: Activation above which a pixel counts as predicted.
        height: Height of each panel in pixels.
        aspect: Height of a pixel of the slices over its width.
        headings: What the activation is, and what the targets are.

    Returns:
        The picture [height, width, 3] ``uint8``.
    """
    with_targets = any(view.targets is not None for view in views)
    with_truth = any(view.truth is not None for view in views)
    names = list(classes) if len(classes) > 1 else [""]
    activation, targets = headings
    columns = [*modalities, *(f"{activation} {name}".strip() for name in names)]
    columns += [f"{targets} {name}".strip() for name in names] if with_targets else []
    columns += ["prediction", "truth"] if with_truth else ["prediction"]
    shape = (height, aspect)
    rows = [_row(view, with_targets, with_truth, threshold, shape) for view in views]
    colours = _mask_legend(classes, with_truth)
    if with_targets:
        colours += [("relevant", RELEVANT), ("irrelevant", IRRELEVANT)]
    legend = Legend(colours, "class activation" if activation == "CAM" else activation)
    return contact_sheet(rows, columns, [view.label for view in views], title=title, legend=legend)


def _row(
    view: SliceView,
    with_targets: bool,
    with_truth: bool,
    threshold: float,
    shape: tuple[int, float],
) -> list[Picture]:
    height, aspect = shape
    size, box = view.valid.shape, panels.anatomy_box(view.valid, aspect=aspect)
    inside = view.valid[box]
    ground = [panels.grey(plane[box], inside, height=height, aspect=aspect) for plane in view.image]
    base = ground[0]

    def cut(planes: Plane) -> list[Array]:
        """Bring planes of any resolution to the slice's grid, cropped like it."""
        return [panels.resized(plane, size)[box] for plane in planes]

    activation = cut(view.activation)
    row = [*ground, *(panels.heat(base, plane) for plane in activation)]
    if with_targets:
        row += _target_panels(base, view, box)
    masks = np.stack(activation) > threshold
    truth = None if view.truth is None else np.stack(cut(view.truth))
    return row + _mask_panels(base, masks, truth)[: 1 + with_truth]


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


def _target_panels(base: Picture, view: SliceView, box: tuple[slice, slice]) -> list[Picture]:
    count, size = len(view.activation), view.valid.shape
    if view.targets is None:
        return [base] * count
    valid = view.valid[box]
    # Nearest, not smooth: -1 (ignore) must not blend with the values beside it.
    rows = np.arange(size[0]) * view.targets.shape[-2] // size[0]
    columns = np.arange(size[1]) * view.targets.shape[-1] // size[1]
    planes = view.targets[:, rows][:, :, columns]
    return [panels.targets(base, plane[box], valid) for plane in planes]
