"""Drawings of matplotlib that stand in the page, in light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LINE_COLOURS = ("#d0780a", "#2b86d6", "#159a74", "#c4539a", "#8a6fe8", "#7d8a1a")
"""Of lines: at least 3 to 1 against the light and the dark ground of the page."""

INK = "#010203"  # stands for the colour of text until the page is shown
FONT_SIZE = 10.5  # of a chart that is as wide as a phone


@dataclass(frozen=True)
class Chart:
    """A chart of some metrics.

    Attributes:
        heading: What it shows.
        note: What is said of it.
        legend: Name and colour of each line.
        svg: The drawing.
    """

    heading: str
    note: str
    legend: list[tuple[str, str]]
    svg: str


@contextmanager
def drawing(heading: str, size: tuple[float, float]) -> Iterator[tuple[Any, list[str]]]:
    """Provide a panel of matplotlib, and afterwards its drawing for the page.

    Args:
        heading: What it shows.
        size: Width and height in inches.

    Yields:
        The panel, and a list that holds the drawing when the block has ended.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    result: list[str] = []
    file = io.StringIO()
    # Text stays text, `$` in names means nothing, and ids are the same every time.
    fixed: Any = {"svg.fonttype": "none", "svg.hashsalt": heading, "text.parse_math": False}
    with rc_context({**fixed, "font.size": FONT_SIZE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font is that of the reader
        figure = Figure(figsize=size, layout="constrained")
        panel = figure.subplots()
        yield panel, result
        panel.tick_params(colors=INK, length=0)
        for side, spine in panel.spines.items():
            spine.set_visible(side == "bottom")
            spine.set(color=INK, alpha=0.5)
        panel.set_axisbelow(True)
        FigureCanvasSVG(figure)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    result.append(inline_svg(file.getvalue(), heading))


def inline_svg(text: str, label: str) -> str:
    """Turn a drawing of matplotlib into one that stands in a page and has its colours.

    Args:
        text: The file.
        label: What the drawing shows, to be read out instead of it.
    """
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # would style the whole page
    head, _, rest = body.partition(">")
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    shown = re.sub(r'["<&>]', "", label)
    return f'<svg {box} role="img" aria-label="{shown}">{rest}'.replace(INK, "currentColor")
