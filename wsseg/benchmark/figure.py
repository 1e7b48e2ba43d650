"""The figure of a benchmark: Dice of every case, by method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.benchmark.table import INCOMPLETE, Result, case_means, class_names, incomplete, marked
from wsseg.evaluation.results import summarise
from wsseg.utils.files import replacing
from wsseg.visualisation.colours import FAINT, GROUND, TEXT, Colour, class_colour


def draw_dice(results: Sequence[Result], path: Path) -> Path:
    """Draw the Dice of every case as points, by method, with box, mean and interval of the mean.

    Each case is averaged over seeds; the interval is the table's bootstrap interval. Methods that
    lack runs are marked as in the table.

    Args:
        results: All rows.
        path: File to write, ending in ``.png``.

    Returns:
        The path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, dice = class_names(results), case_means(results, "dice")
    methods = marked(results)
    size = (7.5 * len(names), 1.3 + 0.62 * len(methods))
    figure = Figure(figsize=size, layout="constrained", facecolor=_unit(GROUND))
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for panel, name in zip(panels, names, strict=True):
        values = {methods[method]: dice[key, method] for key, method in dice if key == name}
        _draw_class(panel, values)
        cases = len({row.case for row in results})
        note = f"\n{INCOMPLETE}" if incomplete(results) else ""
        panel.set_title(f"{name}: Dice of {cases} held-out cases{note}")
        _style(panel)
    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=130)
    return path


def _draw_class(panel: Any, values: dict[str, list[float]]) -> None:
    rng = np.random.default_rng(0)
    for row, points in enumerate(values.values()):
        colour = _unit(class_colour(row))
        low, middle, high = np.percentile(points, (25, 50, 75))
        panel.barh(row, high - low, left=low, height=0.46, color=colour, alpha=0.22)
        panel.plot([middle, middle], [row - 0.23, row + 0.23], color=colour, linewidth=2)
        jitter = rng.uniform(-0.16, 0.16, len(points))
        panel.scatter(points, row + jitter, s=20, color=colour, alpha=0.85, linewidths=0)
        mean, _, interval = summarise(points)
        panel.plot(interval, [row, row], color=_unit(TEXT), linewidth=1.6)
        panel.scatter(
            mean, row, marker="D", s=44, color=_unit(TEXT), edgecolors=_unit(GROUND), zorder=3
        )
        panel.text(1.025, row, f"{mean:.2f}", color=_unit(TEXT), va="center", fontsize=11)
    panel.set_yticks(range(len(values)), list(values))
    panel.set_ylim(len(values) - 0.5, -0.5)
    panel.set_xlim(0, 1.1)
    panel.set_xticks(np.linspace(0, 1, 6))
    panel.set_xlabel(
        "Dice of each case; box: quartiles, bar: median,\ndiamond: mean with its 95 % interval"
    )


def _style(panel: Any) -> None:
    panel.set_facecolor(_unit(GROUND))
    panel.title.set(color=_unit(TEXT), fontsize=12)
    panel.title.set_horizontalalignment("left")
    panel.title.set_x(0)
    panel.xaxis.label.set(color=_unit(FAINT), fontsize=9)
    panel.tick_params(colors=_unit(FAINT), length=0)
    for label in panel.get_yticklabels():
        label.set(color=_unit(TEXT), fontsize=11)
    panel.grid(axis="x", color=_unit(FAINT), alpha=0.22, linewidth=0.8)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _unit(colour: Colour) -> tuple[float, float, float]:
    return colour[0] / 255, colour[1] / 255, colour[2] / 255
