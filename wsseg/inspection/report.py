"""Tables about a data set, as ``wsseg check`` prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wsseg.data.levels import LEVELS_PER_CASE
from wsseg.data.spec import shown_names
from wsseg.data.tag_counts import Counts
from wsseg.inspection.facts import Facts

if TYPE_CHECKING:
    from rich.table import Table

MOST_KINDS = 3  # sizes, spacings or types that are listed one by one


def data_rows(
    facts: Sequence[Facts], modalities: Sequence[str], patients: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return what there is to say of all images, as pairs of a heading and a text.

    Args:
        facts: Of all cases that can be used.
        modalities: Names of the channels.
        patients: Whose each case is.
    """
    volumes = any(one.shape[0] > 1 for one in facts)
    unit = "px" if all(one.unit == "px" for one in facts) else "mm"
    owners = {patients[one.case] for one in facts}
    rows = [
        ("cases", str(len(facts))),
        ("patients", str(len(owners)) if len(owners) < len(facts) else "one for each case"),
        ("modalities", shown_names(modalities)),
        ("files", _kinds([one.kind for one in facts])),
        ("width x height", _sizes([(one.shape[2], one.shape[1]) for one in facts])),
    ]
    if volumes:
        rows.append(("slices", _range([one.shape[0] for one in facts])))
    if unit == "mm":
        sides = [side for one in facts for side in one.whole.pixel]
        rows.append(("pixels", f"{_range(sides)} mm"))
        if volumes:
            rows.append(("thickness", f"{_range([one.whole.thickness for one in facts])} mm"))
    masks = sum(one.mask is not None for one in facts)
    rows.append(("masks", f"{masks} that are not empty" if masks else "none, or all empty"))
    return rows


def data_table(rows: Sequence[tuple[str, str]]) -> Table:
    """Return the table of :func:`data_rows`."""
    from rich.table import Table

    table = Table(show_header=False, title="Data", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def tag_table(counts: Counts, classes: Sequence[str], *, volumes: bool) -> Table:
    """Return the table of tags, with the share of tagged slices at each level of volumes."""
    from rich.table import Table

    some_unknown = bool(counts.unknown.any())
    heads = ["class", "tagged", "untagged", *(["unknown"] if some_unknown else [])]
    heads += ["cases with", "without"] if volumes else []
    what = "slices" if volumes else "images"
    table = Table(*heads, title=f"Tags of {what}", title_justify="left")
    if volumes:
        table.add_column(f"% at levels 1-{LEVELS_PER_CASE}", no_wrap=True)
    for name, slices, cases, levels, unknown in zip(classes, *counts, strict=True):
        row = [name, str(slices[1]), str(slices[0]), *([str(unknown)] if some_unknown else [])]
        if volumes:
            shares = 100 * levels[:, 1] / np.maximum(levels.sum(axis=1), 1)
            row += [str(cases[1]), str(cases[0]), " ".join(f"{share:.0f}" for share in shares)]
        table.add_row(*row)
    return table


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    kinds = [f"{width} x {height}" for width, height in sizes]
    if len(set(kinds)) <= MOST_KINDS:
        return _kinds(kinds)
    widths, heights = zip(*sizes, strict=True)
    return f"{_range(widths)} x {_range(heights)} ({len(set(kinds))} sizes)"


def _kinds(kinds: Sequence[str]) -> str:
    counts = Counter(kinds).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = [f"{kind} ({count})" for kind, count in counts[:MOST_KINDS]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more kinds" if more else "")


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"
