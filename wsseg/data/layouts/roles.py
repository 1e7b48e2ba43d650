"""What the name of a file or folder says of images: that they are masks, or of a modality."""

from __future__ import annotations

import re

MODALITIES = {
    "T1": ("t1", "t1w", "t1n"),
    "T1ce": ("t1ce", "t1c", "t1gd", "t1post", "t1contrast"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair", "t2f"),
    "ADC": ("adc",),
    "DWI": ("dwi",),
    "HBV": ("hbv", "bval"),
    "SWI": ("swi",),
    "PD": ("pd",),
    "CT": ("ct",),
    "PET": ("pet",),
}
KNOWN = {word: name for name, words in MODALITIES.items() for word in words}
MASKS = re.compile(
    r"(gt|mask|seg|segm|segmentation|label|labelmap|groundtruth|truth|annotation|instance|contour"
    r"|roi)s?(tr|ts)?",
    re.IGNORECASE,
)
IMAGES = re.compile(r"(image|img|picture|photo|scan)s?(tr|ts)?", re.IGNORECASE)
WORDS = re.compile(r"[^\s_.-]+")
IMAGE, MASK = "image", "mask"  # kinds of files


def role_of(name: str) -> tuple[str, str, str] | None:
    """Return what a name says of its file: its kind, its modality, and the rest of the name.

    Args:
        name: Of a file without its ending, or of a folder.

    Returns:
        None if it says nothing. The modality of masks, and of images of none, is "".

    Example:
        >>> role_of("ann_T1w"), role_of("17_mask_2"), role_of("imagesTr"), role_of("ann_17")
        (('image', 'T1', 'ann'), ('mask', '', '17'), ('image', '', ''), None)
    """
    words = list(WORDS.finditer(name))
    if not words:
        return None
    numbered = len(words) > 2 and words[-1][0].isdecimal() and MASKS.fullmatch(words[-2][0])
    last = words[-2] if numbered else words[-1]
    for word, rest in ((last, name[: last.start()]), (words[0], name[words[0].end() :])):
        rest = rest.strip(" _.-")
        if word[0].lower() in KNOWN:
            return IMAGE, KNOWN[word[0].lower()], rest
        if MASKS.fullmatch(word[0]):
            return MASK, "", rest
        if IMAGES.fullmatch(word[0]) and not rest.isdecimal():
            return IMAGE, "", rest
    return None
