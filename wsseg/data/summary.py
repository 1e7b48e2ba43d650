"""Says on the terminal what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def print_summary(manifest: dict[str, Any], out: Path) -> None:
    """Print a short table of a store.

    Args:
        manifest: Its manifest.
        out: Where it is.
    """
    from rich.console import Console
    from rich.table import Table

    spec = manifest["spec"]
    rows = [row for case in manifest["cases"] for row in case["tags"]]
    tagged = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    shares = ", ".join(f"{n} {s:.0%}" for n, s in zip(spec["classes"], tagged, strict=True))
    table = Table(show_header=False, title="Slice store", title_justify="left")
    table.add_row("cases", str(len(manifest["cases"])))
    table.add_row("slices", f"{len(rows)} of {spec['size'][0]} x {spec['size'][1]} pixels")
    table.add_row("modalities", ", ".join(spec["modalities"]))
    table.add_row("tagged slices", shares)
    table.add_row("masks", "for validation and test" if manifest["has_masks"] else "none")
    table.add_row("folds", str(manifest["options"]["folds"]))
    Console().print(table)
    print(f"in {out}")
