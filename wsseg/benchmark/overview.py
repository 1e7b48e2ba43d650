"""The picture of a benchmark: held-out slices with what every trained method makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.benchmark.heldout import HeldOutSlices, MethodView, telling_slices, view_method
from wsseg.benchmark.runs import Run
from wsseg.data.spec import DataSpec
from wsseg.visualisation import panels
from wsseg.visualisation.colours import IRRELEVANT, PREDICTION, RELEVANT, TRUTH
from wsseg.visualisation.panels import Picture
from wsseg.visualisation.sheet import Legend, contact_sheet, save_png

HEIGHT = 168
MANY = 4  # methods; of more, only the masks are drawn


@dataclass(frozen=True)
class _Crop:
    """The part of a slice that is drawn, the same in every panel of its row."""

    shape: tuple[int, int]
    box: tuple[slice, slice]

    def __call__(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a plane of any resolution to the slice's grid, turned and cropped."""
        cut: NDArray[np.float32] = panels.resized(plane, self.shape)[self.box]
        return cut


def draw_overview(runs: Sequence[Run], path: Path, cases: int = 4) -> Path | None:
    """Draw the most tumour-rich slice of some held-out cases.

    Columns are the modalities, for every trained method its CAM (the probability, for one that is
    no CAM network), its cluster map (if its checkpoint has clusters) and its prediction, and the
    truth; of more than ``MANY`` methods only the predictions. With several classes it is the first
    one that is drawn. All panels come from one fold and one seed.

    Args:
        runs: Finished runs; those of methods that are not trained are left out.
        path: File to write.
        cases: How many cases to draw.

    Returns:
        The path; None if there is nothing to draw.
    """
    trained = [run for run in runs if run.checkpoint.is_file()]
    if not trained:
        return None
    first = trained[0]
    trained = [run for run in trained if (run.fold, run.seed) == (first.fold, first.seed)]
    spec, slices = telling_slices(first.store, first.fold, cases)
    if slices is None:
        return None
    with torch.no_grad():  # not inference mode, in which no method could take gradients to explain
        views = {run.method.name: view_method(run.checkpoint, slices) for run in trained}
    rows = [_row(slices, views, number) for number in range(len(slices.labels))]
    title = f"held-out slices, {next(iter(spec.classes))} (fold {first.fold}, seed {first.seed})"
    columns = _columns(spec, views)
    sheet = contact_sheet(rows, columns, slices.labels, title=title, legend=_legend(views))
    return save_png(sheet, path)


def _columns(spec: DataSpec, views: dict[str, MethodView]) -> list[str]:
    columns = list(spec.modalities)
    for name, view in views.items():
        if len(views) <= MANY:
            columns += [f"{name}: {view.heading}"]
            columns += [f"{name}: clusters"] if view.relevance is not None else []
        columns += [f"{name}: mask" if len(views) <= MANY else name]
    return [*columns, "truth"]


def _row(slices: HeldOutSlices, views: dict[str, MethodView], number: int) -> list[Picture]:
    valid = slices.valid[number]
    shape = (int(valid.shape[0]), int(valid.shape[1]))
    box = panels.anatomy_box(valid)
    cut = _Crop(shape, box)
    inside = valid[box]
    row = [panels.grey(plane[box], inside, height=HEIGHT) for plane in slices.image[number]]
    base, truth = row[0], cut(slices.truth[number])
    for view in views.values():
        if len(views) <= MANY:
            row.append(panels.heat(base, cut(view.probability[number])))
            if view.relevance is not None:
                row.append(panels.targets(base, cut(view.relevance[number]), inside))
        mask = cut(view.probability[number] > view.threshold)
        row.append(panels.outline(panels.overlay(base, mask, PREDICTION), truth, TRUTH, width=1.2))
    return [*row, panels.overlay(base, truth, TRUTH)]


def _legend(views: dict[str, MethodView]) -> Legend:
    colours = [("predicted", PREDICTION), ("true", TRUTH)]
    if len(views) > MANY:
        return Legend(colours)
    if any(view.relevance is not None for view in views.values()):
        colours += [("relevant cluster", RELEVANT), ("irrelevant cluster", IRRELEVANT)]
    return Legend(colours, "class activation, probability")
