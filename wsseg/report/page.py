"""Puts the sections of the report into its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsseg.report.card import Card
from wsseg.report.cluster_facts import ClusterFacts
from wsseg.report.data_facts import DataFacts
from wsseg.report.drawing import Chart
from wsseg.report.held_out import HeldOut
from wsseg.report.map_sheets import MapSheets
from wsseg.report.predicted import Predicted
from wsseg.report.scores import METRIC_NAMES
from wsseg.report.suspicious import Suspicious

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """The content of the page.

    Attributes:
        name: Of the run.
        classes: What it finds.
        unit: Of distances.
        data: The section on data.
        suspicious: Tags that look wrong; None if training has left no list of them.
        curves: The charts.
        log: The file that charts are drawn of.
        clusters: The section on clusters.
        maps: The section on cluster maps.
        cases: The section on held-out cases.
        dice: The Dice of all held-out cases; None if nothing was scored.
        predicted: The section on predicted images; None if no predictions were given.
        card: The model card.
    """

    name: str
    classes: list[str]
    unit: str
    data: DataFacts
    suspicious: Suspicious | None
    curves: list[Chart]
    log: Path
    clusters: ClusterFacts
    maps: MapSheets
    cases: HeldOut
    dice: Chart | None
    predicted: Predicted | None
    card: Card


def render(page: Page) -> str:
    """Return the page as HTML; names and texts of the user are escaped.

    Args:
        page: Its content.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = coded
    return environment.get_template("page.html").render(page=page, metric_names=METRIC_NAMES)


def coded(text: str) -> str:
    """Mark what stands between backticks as code.

    Example:
        >>> coded("add `--store <folder>`")
        Markup('add <code>--store &lt;folder&gt;</code>')
    """
    from markupsafe import Markup, escape

    parts = [str(escape(part)) for part in text.split("`")]
    marked = [f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)]
    return Markup("".join(marked))
