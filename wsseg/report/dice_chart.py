"""The chart of the Dice of all held-out cases."""

from __future__ import annotations

import numpy as np

from wsseg.report.drawing import INK, LINE_COLOURS, Chart, drawing
from wsseg.report.scores import Scores

ROW_HEIGHT, OTHER_HEIGHT = 0.45, 1.0  # of a class, and of the rest of the chart, in inches
CASE_OPACITY = 0.55  # of the points of cases, which may lie above each other


def draw_dice_of_cases(scores: Scores | None) -> Chart | None:
    """Draw the Dice of every case as a point, by class, with the mean and its interval.

    Args:
        scores: What was scored; None if nothing was.

    Example:
        >>> draw_dice_of_cases(None) is None
        True
    """
    if scores is None or not scores.means:
        return None
    heading = "Dice of each held-out case"
    names = [mean.name for mean in scores.means]
    rng = np.random.default_rng(0)
    with drawing(heading, (4.4, OTHER_HEIGHT + ROW_HEIGHT * len(names))) as (panel, result):
        for row, mean in enumerate(scores.means):
            colour = LINE_COLOURS[row % len(LINE_COLOURS)]
            dice = [one.dice for one in scores.cases if one.class_name == mean.name]
            place = row + rng.uniform(-0.22, 0.22, len(dice))
            panel.scatter(dice, place, s=16, color=colour, alpha=CASE_OPACITY, linewidths=0)
            value, low, high = mean.cells[0]
            panel.plot([low, high], [row, row], color=INK, linewidth=1.6)
            panel.scatter([value], [row], marker="D", s=34, color=INK, zorder=3)
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_xlim(-0.02, 1.02)
        panel.grid(axis="x", color=INK, alpha=0.14, linewidth=0.8)
    note = "A point is a case; the diamond is their mean, the bar its 95 % interval."
    return Chart(heading, note, [], result[0])
