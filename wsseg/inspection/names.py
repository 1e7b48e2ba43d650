"""What names of files tell: modalities, masks, classes and patients."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from wsseg.data.layouts.folders import UNTAGGED

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
FINDING = "finding"  # the name of a class that nobody has named
POSITIVE = ("pos", "positive", "abnormal", "yes")
MOST_CLASSES = 6
# Names of patients: barcodes of TCGA, or a word such as patient or sub with a number.
PATIENT = re.compile(
    r"(?:^|[/_\s.-])(TCGA[-_]\w\w[-_]\w{4}|(?:patient|pat|subject|subj|sub|pt)[-_ ]?[a-z]*\d+)",
    re.IGNORECASE,
)


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


def classes_in(ids: Sequence[str]) -> dict[str, list[int]]:
    """Return classes that the names of images tell, each with a tag for every image.

    A word at one place of all names must say of some that they show nothing, such as ``normal``.

    Args:
        ids: Of all images.

    Example:
        >>> classes_in(["benign_1", "benign_2", "normal_1", "normal_2"])
        {'benign': [1, 1, 0, 0]}
    """
    words = [re.findall(r"[A-Za-z]+", name.rpartition("/")[2]) for name in ids]
    for place in (0, -1):
        column = [each[place].lower() if each else "" for each in words]
        found = {word for word in column if not UNTAGGED.fullmatch(word)}
        counts = Counter(column)
        if 0 < len(found) <= MOST_CLASSES and found < set(column) and min(counts.values()) > 1:
            return {
                FINDING if name in POSITIVE else name: [int(word == name) for word in column]
                for name in sorted(found)
            }
    return {}


def patients_in(ids: Sequence[str]) -> list[str] | None:
    """Return the patient of each image, if names tell them and some have several images.

    Example:
        >>> patients_in(["patient001_frame01", "patient001_frame12", "patient006_frame01"])
        ['patient001', 'patient001', 'patient006']
        >>> patients_in(["IMD003_pos0", "IMD003_neg0", "IMD007_pos0"])
        ['IMD003', 'IMD003', 'IMD007']
        >>> patients_in(["benign_1", "benign_2", "normal_1"])
    """
    matches = [PATIENT.search(name) for name in ids]
    if all(matches):
        patients = [match[1] for match in matches if match]
    else:
        patients = [(WORDS.findall(name.rpartition("/")[2]) or [""])[0] for name in ids]
        if not all(re.search(r"\d", patient) for patient in patients):
            return None
    return patients if len(set(patients)) < len(patients) else None
