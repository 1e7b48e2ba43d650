"""Fonts for names in any script: the first installed one that has all characters of a text."""

from __future__ import annotations

import warnings
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NO_CHARACTER = "\U0010ffff"  # for which every font draws its empty box


def font_for(text: str, size: int) -> Font:
    """Return a font that shows a text; if there is none, the usual one, with one warning.

    Texts in Latin letters have the font that comes with Pillow. Others have one of matplotlib,
    which has Greek, Cyrillic and more, or one that is installed on the machine.

    Args:
        text: A line.
        size: In pixels.

    Example:
        >>> font_for("patient", 15).getname() == font_for("пациент", 15).getname()
        False
    """
    usual = ImageFont.load_default(size)
    needed = frozenset(letter for letter in text if not letter.isspace())
    lacking = sorted(letter for letter in needed if not _in_usual_font(letter))
    if not lacking:
        return usual
    path = _file_with(needed)
    if path:
        return ImageFont.truetype(path, size)
    _warn_once(lacking[0])
    return usual


@cache
def _in_usual_font(letter: str) -> bool:
    font = ImageFont.load_default(20)
    return bytes(font.getmask(letter)) != bytes(font.getmask(NO_CHARACTER))


@cache
def _file_with(letters: frozenset[str]) -> str | None:
    return next((path for path in _files() if _has(path, letters)), None)


@cache
def _files() -> list[str]:
    """List the fonts of matplotlib and of the machine, upright ones of usual weight first."""
    from matplotlib.font_manager import fontManager

    def unusual(font: object) -> tuple[bool, bool, bool, str]:
        name, style, weight = (getattr(font, part) for part in ("name", "style", "weight"))
        path: str = font.fname  # type: ignore[attr-defined]
        return name != "DejaVu Sans", style != "normal", weight not in (400, "normal"), path

    return [font.fname for font in sorted(fontManager.ttflist, key=unusual)]


def _has(path: str, letters: frozenset[str]) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(path, 20)  # some fonts of emoji have one size only
        return _codes(FT2Font(path)) >= {ord(letter) for letter in letters}
    except (OSError, RuntimeError):  # a font of the machine may be damaged, or gone
        return False


def _codes(font: object) -> set[int]:
    return set(font.get_charmap())  # type: ignore[attr-defined]


@cache
def _warn_once(letter: str) -> None:
    warnings.warn(
        f"no installed font shows {letter}, so that names in pictures have boxes in place of some "
        "letters; install one, such as the package fonts-noto-cjk of Debian and Ubuntu",
        stacklevel=4,
    )
