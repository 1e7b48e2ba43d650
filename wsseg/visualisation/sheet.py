"""Contact sheets: rows of pictures with titles and a legend, on a dark background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from wsseg.utils.files import replacing
from wsseg.visualisation.colours import FAINT, GROUND, TEXT, Colour, heat_colours
from wsseg.visualisation.fonts import font_for
from wsseg.visualisation.panels import Picture

GAP = 6
MARGIN = 18
TITLE_HEIGHT = 34
COLUMN_HEIGHT = 26
LEGEND_HEIGHT = 34
CAPTION_HEIGHT = 37


@dataclass(frozen=True)
class Legend:
    """Content of the legend below a sheet.

    Attributes:
        colours: Text and colour of each patch.
        heat: Text beside the bar of heat colours; without it, there is no bar.
    """

    colours: Sequence[tuple[str, Colour]] = ()
    heat: str = ""


def contact_sheet(
    rows: Sequence[Sequence[Picture]],
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    *,
    title: str = "",
    legend: Legend | None = None,
) -> Picture:
    """Arrange pictures in rows.

    Args:
        rows: Pictures [h, w, 3] ``uint8``; rows may differ in length.
        columns: Title above each column.
        labels: Title beside each row, of one or more lines.
        title: Title of the whole sheet.
        legend: Legend below the rows.

    Returns:
        The sheet [height, width, 3] ``uint8``.

    Raises:
        ValueError: There is no picture.

    Example:
        >>> picture = np.zeros((100, 100, 3), np.uint8)
        >>> contact_sheet([[picture, picture]], columns=["image", "CAM"]).shape
        (162, 242, 3)
    """
    if not any(len(row) for row in rows):
        raise ValueError("contact_sheet: rows must hold at least one picture")
    widths, heights = _cell_sizes(rows)
    left = MARGIN + _label_width(labels)
    top = MARGIN + (TITLE_HEIGHT if title else 0) + (COLUMN_HEIGHT if columns else 0)
    width = left + sum(widths) + GAP * (len(widths) - 1) + MARGIN
    width = max(width, _legend_width(legend) + 2 * MARGIN, _width(title, 20) + 2 * MARGIN)
    height = top + sum(heights) + GAP * (len(heights) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height + (LEGEND_HEIGHT if legend else 0)), GROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, (MARGIN, MARGIN - 4), title, TEXT, 20)
    _draw_rows(sheet, rows, (left, top), widths, heights)
    _draw_columns(draw, columns, left, top, widths)
    _draw_labels(draw, labels, top, heights)
    if legend:
        _draw_legend(sheet, draw, legend, left, height - 4)
    return np.asarray(sheet)


def captioned(
    picture: Picture, caption: str, note: str = "", *, size: tuple[int, int] = (0, 0)
) -> Picture:
    """Write a line below a picture, and a fainter one below that.

    Lines that are too long are cut in front, since the ends of names tell more.

    Args:
        picture: [h, w, 3] ``uint8``.
        caption: First line.
        note: Second line.
        size: Height and width of the field in which the picture is centred, at least those of the
            picture.

    Returns:
        The field with its lines.

    Example:
        >>> picture = np.zeros((60, 40, 3), np.uint8)
        >>> captioned(picture, "busi/benign_017", "no tag", size=(100, 100)).shape
        (137, 100, 3)
    """
    height, width = np.maximum(picture.shape[:2], size).tolist()
    result = Image.new("RGB", (width, height + CAPTION_HEIGHT), GROUND)
    corner = (width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2
    result.paste(Image.fromarray(picture), corner)
    draw = ImageDraw.Draw(result)
    for text, colour, points, y in ((caption, TEXT, 12, 10), (note, FAINT, 11, 25)):
        line = text
        while len(line) > 2 and _width(line, points) > width:
            line = f"\N{HORIZONTAL ELLIPSIS}{line[2:]}"
        _write(draw, (width // 2, height + y), line, colour, points, "mm")
    return np.asarray(result)


def save_png(picture: Picture, path: Path) -> Path:
    """Write a picture to a PNG file, whole or not at all.

    Args:
        picture: [H, W, 3] ``uint8``.
        path: File to write.

    Returns:
        The path.
    """
    with replacing(path) as part:
        Image.fromarray(picture).save(part, format="PNG", compress_level=1)
    return path


def _cell_sizes(rows: Sequence[Sequence[Picture]]) -> tuple[list[int], list[int]]:
    count = max(len(row) for row in rows)
    widths = [max(row[i].shape[1] for row in rows if len(row) > i) for i in range(count)]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in rows]
    return widths, heights


def _draw_rows(
    sheet: Image.Image,
    rows: Sequence[Sequence[Picture]],
    corner: tuple[int, int],
    widths: list[int],
    heights: list[int],
) -> None:
    y = corner[1]
    for row, height in zip(rows, heights, strict=True):
        x = corner[0]
        for picture, width in zip(row, widths, strict=False):
            offset = ((width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2)
            sheet.paste(Image.fromarray(picture), (x + offset[0], y + offset[1]))
            x += width + GAP
        y += height + GAP


def _draw_columns(
    draw: ImageDraw.ImageDraw, columns: Sequence[str], left: int, top: int, widths: list[int]
) -> None:
    x = left
    for text, width in zip(columns, widths, strict=False):
        _write(draw, (x + width // 2, top - 9), text, TEXT, 15, "ms")
        x += width + GAP


def _draw_labels(
    draw: ImageDraw.ImageDraw, labels: Sequence[str], top: int, heights: list[int]
) -> None:
    y = top
    for text, height in zip(labels, heights, strict=False):
        first, *rest = text.split("\n")
        middle = y + height // 2 - 8 * len(rest)
        _write(draw, (MARGIN, middle), first, TEXT, 15, "lm")
        for number, line in enumerate(rest, start=1):
            _write(draw, (MARGIN, middle + 19 * number), line, FAINT, 13, "lm")
        y += height + GAP


def _draw_legend(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, legend: Legend, x: int, y: int
) -> None:
    middle = y + LEGEND_HEIGHT // 2 - 6
    for text, colour in legend.colours:
        draw.rounded_rectangle((x, middle - 6, x + 18, middle + 6), 3, fill=colour)
        _write(draw, (x + 26, middle), text, TEXT, 14, "lm")
        x += 26 + _width(text, 14) + 24
    if legend.heat:
        ramp = heat_colours(np.tile(np.linspace(0, 1, 110), (12, 1))).astype(np.uint8)
        _write(draw, (x, middle), "0", FAINT, 13, "lm")
        sheet.paste(Image.fromarray(ramp), (x + 14, middle - 6))
        _write(draw, (x + 130, middle), f"1   {legend.heat}", TEXT, 14, "lm")


def _legend_width(legend: Legend | None) -> int:
    if legend is None:
        return 0
    patches = sum(50 + _width(text, 14) for text, _ in legend.colours)
    return patches + (160 + _width(legend.heat, 14) if legend.heat else 0)


def _label_width(labels: Sequence[str]) -> int:
    lines = [line for text in labels for line in text.split("\n")]
    return max((_width(line, 15) for line in lines), default=-14) + 14


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    colour: Colour,
    size: int,
    anchor: str = "la",
) -> None:
    draw.text(place, text, colour, font_for(text, size), anchor=anchor)


def _width(text: str, size: int) -> int:
    return int(font_for(text, size).getlength(text)) + 1
