"""The section on curves: what was logged, over the epochs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.report.drawing import INK, LINE_COLOURS, Chart, drawing
from wsseg.tracking.epoch_lines import short_name

MOST_POINTS = 400  # of a line: more cannot be told apart
MOST_OTHERS = 12  # charts of metrics that wsseg does not know
MARKED_POINTS = 12  # up to so many are marked
SIZE = (4.4, 2.5)  # of a chart, in inches
CHARTS = (  # heading, beginning of the names, and what is said of it
    ("Losses", "train/", "of training batches, mean of an epoch; `loss` is their sum"),
    ("Tag accuracy", "val/tag_accuracy", "of validation slices"),
    ("Dice", "val/dice_", "of validation cases with masks, unrefined; nothing is chosen by it"),
    ("Agreement", "val/agreement", "Dice of predictions and cluster maps of validation slices"),
    ("Relevant area", "clusters/relevant_area", "share of valid pixels of tagged slices"),
    ("Churn", "clusters/churn", "share of these pixels whose target a refresh has changed"),
    ("Relevant clusters", "clusters/relevant_clusters", "of a clustering, for a class"),
    ("Support", "clusters/support", "cases from which the pixels of relevant clusters come"),
    ("Peak relevance", "clusters/peak", "of a typical tagged slice"),
    ("Pseudo-masks", "pseudo_masks/", "shares of the training slices, and of their pixels"),
    ("Time of refreshes", "clusters/seconds_", "in seconds"),
    ("Learning rate", "lr-", "of the optimiser"),
)


@dataclass(frozen=True)
class Line:
    """A metric over the epochs.

    Attributes:
        name: Its name, without the group.
        x: Epochs that were finished.
        y: Its values.
    """

    name: str
    x: list[float]
    y: list[float]


def draw_curves(path: Path) -> list[Chart]:
    """Draw all metrics of a log.

    Args:
        path: A ``metrics.csv``; it need not exist.

    Returns:
        The charts of the metrics that it has; other metrics than those of wsseg come last.
    """
    lines = read_lines(path)
    epochs = max((line.x[-1] for line in lines.values()), default=1.0)
    charts = []
    for heading, start, note in CHARTS:
        chosen = [lines.pop(name) for name in sorted(lines) if name.startswith(start)]
        if chosen:
            charts.append(draw_chart(heading, note, chosen, epochs))
    others = [Line(name, line.x, line.y) for name, line in sorted(lines.items())]
    return charts + [draw_chart(line.name, "", [line], epochs) for line in others[:MOST_OTHERS]]


def read_lines(path: Path) -> dict[str, Line]:
    """Read the metrics of a log by name; values that are no numbers are left out."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    steps, epochs = ([_number(row.get(key)) for row in rows] for key in ("step", "epoch"))
    # The last step of each epoch tells where the epoch ends.
    both = zip(steps, epochs, strict=True)
    known = [(step, epoch) for step, epoch in both if step is not None and epoch is not None]
    ends = {0.0: 0.0} | {epoch + 1: step + 1 for step, epoch in sorted(known)}
    lines: dict[str, Line] = {}
    for row, step, epoch in zip(rows, steps, epochs, strict=True):
        place = np.interp(step or 0, list(ends.values()), list(ends))
        x = float(place) if epoch is None else epoch + 1
        for name in row.keys() - {"step", "epoch", None}:
            value = _number(row[name])
            if value is not None:
                label = short_name(name) or name.replace("lr-", "learning rate of ")
                line = lines.setdefault(name, Line(label, [], []))
                line.x.append(x)
                line.y.append(value)
    return lines


def draw_chart(heading: str, note: str, lines: Sequence[Line], epochs: float = 1.0) -> Chart:
    """Draw some metrics as a chart whose text has the colour of the page's text.

    Args:
        heading: What it shows.
        note: What is said of it.
        lines: The metrics.
        epochs: Where the axis ends, unless a line is longer.

    Example:
        >>> chart = draw_chart("Losses", "", [Line("loss", [1, 2], [0.9, 0.4])])
        >>> chart.legend, chart.svg[:4], "currentColor" in chart.svg
        ([('loss', '#d0780a')], '<svg', True)
    """
    from matplotlib.ticker import MaxNLocator

    legend = [(line.name, LINE_COLOURS[n % len(LINE_COLOURS)]) for n, line in enumerate(lines)]
    with drawing(heading, SIZE) as (panel, result):
        for number, (line, (_, colour)) in enumerate(zip(lines, legend, strict=True)):
            step = -(-len(line.x) // MOST_POINTS)
            marker = "o" if len(line.x) <= MARKED_POINTS else None
            style = "--" if number >= len(LINE_COLOURS) else "-"
            x, y = line.x[::step], line.y[::step]
            panel.plot(x, y, style, color=colour, linewidth=1.8, marker=marker, markersize=4)
        values = [value for line in lines for value in line.y]
        low, high = min(0.0, *values), max(0.0, *values)
        panel.set_ylim(low - 0.08 * (high - low) * (low < 0), high + (0.08 * (high - low) or 1))
        panel.set_xlim(0, 1.02 * max(epochs, *(line.x[-1] for line in lines)))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
        panel.set_xlabel("epoch", color=INK)
        panel.grid(color=INK, alpha=0.14, linewidth=0.8)
    return Chart(heading, note, legend, result[0])


def _number(text: Any) -> float | None:
    try:
        value = float(text or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
