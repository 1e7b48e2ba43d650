"""``wsseg compress``: a table of pictures of any size as a table of grids of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wsseg.data.tables import Table

TABLE = "tags.csv"


def compress(source: Path, out: Path, *, cell: int = 16, device: str = "auto") -> Path:
    """Turn pictures of any size into grids of features, which `wsseg prepare table` reads.

    A picture is read window by window, and each square cell of its pixels becomes one vector of
    features of the pretrained network for pictures. Memory depends on the size of the grid, and
    not of the picture, if that is a TIFF in tiles, in strips or without compression; other formats
    are decoded as a whole. Masks are reduced to cells, too. `wsseg predict` compresses by itself.
    If the same command is given again, finished grids are kept.

    Args:
        source: A table with a line for each picture, as for `wsseg prepare table`.
        out: Folder to write the grids and their table to.
        cell: Pixels to a side of a cell: 16, 32 or 64.
        device: Where to compute: auto, cpu, cuda, cuda:1, ...

    Returns:
        The table of the grids, ``tags.csv`` in the folder.

    Raises:
        InputError: The table or a picture cannot be used.
    """
    # Imported here, so that the help needs no torch.
    from rich.console import Console
    from rich.progress import track

    from wsseg.compression.grids import build_encoder, check_cell, write_cell_mask, write_grid
    from wsseg.data.tables import read_table
    from wsseg.prediction.inference import choose_device
    from wsseg.utils.errors import attempt, results
    from wsseg.utils.files import check_writable, write_table

    check_cell(cell)
    source, out = Path(source), Path(out)
    table = read_table(source)
    places = _places(table, out)
    results(attempt(_check, place) for place in places)
    _check_targets(source, out, places)
    encoder = build_encoder().to(choose_device(device))
    check_writable(out)

    def write(place: _Place) -> Path:
        if place.mask:
            return write_cell_mask(place.path, place.case, place.target, cell)
        return write_grid(place.path, place.case, place.target, cell, encoder)

    shown = track(places, "Compressing", console=Console(stderr=True))
    results([attempt(write, place) for place in shown])
    rows = [list(row) for row in table.rows]
    for place in places:
        rows[place.row][place.column] = place.target.relative_to(out).as_posix()
    written = write_table(out / TABLE, table.columns, rows)
    print(f"prepare the grids with: wsseg prepare table {written} STORE")
    return written


class _Place(NamedTuple):
    """A file that a cell of the table names, and what is made of it."""

    row: int
    column: int
    path: Path
    target: Path
    case: str
    mask: bool


def _places(table: Table, out: Path) -> list[_Place]:
    from wsseg.data.case_ids import check_id
    from wsseg.data.layouts.table import IMAGE, KNOWN, MASK, default_id

    table.column(IMAGE)  # refuses a table without pictures
    found = []
    for column, name in enumerate(table.columns):
        match = KNOWN.fullmatch(name)
        kind = match[1].lower() if match and match[1] else ""
        if kind == MASK or name == IMAGE:
            for row, cell in enumerate(table.column(name)):
                if cell:
                    case = default_id([cell])
                    check_id(table.path, case)
                    target = out / f"{case}{'.png' if kind == MASK else '.tif'}"
                    path = table.path.parent / cell.replace("\\", "/")
                    found.append(_Place(row, column, path, target, case, kind == MASK))
    return found


def _check(place: _Place) -> None:
    """Refuse a picture that cannot be compressed, as its header tells."""
    from wsseg.compression.windows import opened

    with opened(place.path, place.case, mask=place.mask):
        pass


def _check_targets(source: Path, out: Path, places: Sequence[_Place]) -> None:
    """Refuse to write over what the table names, or twice to one file."""
    from wsseg.utils.errors import InputError

    inputs = {place.path.resolve() for place in places} | {source.resolve()}
    written: dict[Path, Path] = {}
    for target in (out / TABLE, *(place.target for place in places)):
        if target.resolve() in inputs:
            raise InputError(f"{target}: is an input file; give another folder to write to")
    for place in places:
        first = written.setdefault(place.target, place.path)
        if first != place.path:
            raise InputError(
                f"{source}: {first.name} and {place.path.name} would become the same file, "
                f"{place.target}; rename one"
            )
