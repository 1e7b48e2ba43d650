"""What names of files tell: classes and patients."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from wsseg.data.layouts.folders import UNTAGGED
from wsseg.data.layouts.roles import WORDS

FINDING = "finding"  # the name of a class that nobody has named
POSITIVE = ("pos", "positive", "abnormal", "yes")
MOST_CLASSES = 6
# Names of patients: barcodes of TCGA, or a word such as patient or sub with a number.
PATIENT = re.compile(
    r"(?:^|[/_\s.-])(TCGA[-_]\w\w[-_]\w{4}|(?:patient|pat|subject|subj|sub|pt)[-_ ]?[a-z]*\d+)",
    re.IGNORECASE,
)


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
