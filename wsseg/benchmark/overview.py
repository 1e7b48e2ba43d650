"""The picture of a benchmark: held-out slices with what every trained method makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsseg.benchmark.heldout import HeldOutCase, MethodView, shown_cases, view_method
from wsseg.benchmark.runs import Run
from wsseg.data.spec import DataSpec
from wsseg.visualisation import panels
from wsseg.visualisation.colours import IRRELEVANT, PREDICTION, RELEVANT, TRUTH
from wsseg.visualisation.panels import Picture
from wsseg.visualisation.sheet import Legend, contact_sheet, save_png

PANEL_PIXELS = 168  # height of a panel: a dozen columns fit on a screen
SHOWN_CASES = 4  # rows of the picture: as many as fit on a screen
MANY_METHODS = 4  # of more methods only the masks are drawn, or the picture gets too wide


def draw_overview(runs: Sequence[Run], path: Path) -> Path | None:
    """Draw the most tumour-rich slice of some held-out cases.

    Columns are the modalities, for every trained method its CAM (the probability, for one that is
    no CAM network), its cluster map (if its checkpoint has clusters) and its prediction, and the
    truth; of more than ``MANY_METHODS`` methods only the predictions. With several classes it is
    the first one that is drawn. All panels come from one fold and one seed.

    Args:
        runs: Finished runs; those of methods that are not trained are left out.
        path: File to write.

    Returns:
        The path; None if there is nothing to draw.
    """
    trained = [run for run in runs if run.checkpoint.is_file()]
    if not trained:
        return None
    first = trained[0]
    trained = [run for run in trained if (run.fold, run.seed) == (first.fold, first.seed)]
    spec, chosen = shown_cases(first.store, first.fold, SHOWN_CASES)
    if not chosen:
        return None
    views = {run.method.name: view_method(run.checkpoint, chosen) for run in trained}
    brief = len(views) > MANY_METHODS
    rows = [_row(case, views, number, brief) for number, case in enumerate(chosen)]
    title = f"held-out slices, {next(iter(spec.classes))} (fold {first.fold}, seed {first.seed})"
    columns = _columns(spec, views, brief)
    labels = [case.label for case in chosen]
    sheet = contact_sheet(rows, columns, labels, title=title, legend=_legend(views, brief))
    return save_png(sheet, path)


def _columns(spec: DataSpec, views: dict[str, MethodView], brief: bool) -> list[str]:
    columns = list(spec.modalities)
    for name, view in views.items():
        if brief:
            columns.append(name)
            continue
        columns.append(f"{name}: {view.heading}")
        columns += [f"{name}: clusters"] if view.has_clusters else []
        columns.append(f"{name}: mask")
    return [*columns, "truth"]


def _row(
    case: HeldOutCase, views: dict[str, MethodView], number: int, brief: bool
) -> list[Picture]:
    valid = case.valid[case.row]
    box = panels.valid_box(valid)
    inside = valid[box]

    def cut(plane: panels.Plane) -> NDArray[np.float32]:
        """Bring a plane of any resolution to the slice's grid, cropped like it."""
        return panels.resized(plane, valid.shape)[box]

    row = [panels.grey(plane[box], inside, height=PANEL_PIXELS) for plane in case.image[case.row]]
    base, truth = row[0], cut(case.truth[case.row])
    for method in views.values():
        view = method.slices[number]
        if not brief:
            row.append(panels.heat(base, cut(view.probability)))
            if view.relevance is not None:
                row.append(panels.targets(base, cut(view.relevance), inside))
        mask = panels.overlay(base, cut(view.mask), PREDICTION)
        row.append(panels.outline(mask, truth, TRUTH, width=1.2))
    return [*row, panels.overlay(base, truth, TRUTH)]


def _legend(views: dict[str, MethodView], brief: bool) -> Legend:
    colours = [("predicted", PREDICTION), ("true", TRUTH)]
    if brief:
        return Legend(colours)
    if any(view.has_clusters for view in views.values()):
        colours += [("relevant cluster", RELEVANT), ("irrelevant cluster", IRRELEVANT)]
    return Legend(colours, "class activation, probability")
