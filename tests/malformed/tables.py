"""Tables of images, in text and in Excel, of which some line or cell is wrong."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import openpyxl

from tests.malformed.damages import cell, put
from tests.malformed.entry import Malformed

COMMAND = "prepare table tags.csv out --folds 2 --workers 1"
GOOD = "image,mask,patient,lesion\n" + "".join(
    f"{n}.png,{n}_mask.png,p{n},{n % 2}\n" for n in range(6)
)
HEAD, *LINES = GOOD.splitlines()

CONTENTS: dict[str, bytes | str] = {
    "empty": b"",
    "blank lines": b"\xef\xbb\xbf \n\n",
    "names only": HEAD + "\n",
    "no names": "\n".join(LINES),
    "a short line": GOOD + "6.png,1\n",
    "a long line": GOOD + "6.png,,p6,1,1,1\n",
    "an open quotation": GOOD + '"6.png,,p6,1\n',
    "an enormous cell": "image" * 30_000,
    "latin-1": GOOD.replace("p1", "Käthe").encode("latin-1"),
    "half of utf-16": GOOD.encode("utf-16")[:31],
    "zero bytes": GOOD.replace("p1", "p\0"),
    "a workbook cut off": b"PK\x03\x04 and no more",
    "an old workbook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "no column of images": GOOD.replace("image", "file"),
    "two columns of images": GOOD.replace("mask,", "image,"),
    "image and image:T1": GOOD.replace("mask,", "image:T1,"),
    "two columns of patients": GOOD.replace("mask,", "subject,"),
    "a column like patients": GOOD.replace("patient", "patientname"),
    "two columns of a class": "image,lesion,lesion\n0.png,1,1\n1.png,0,0\n2.png,0,0\n3.png,1,1",
    "mask and mask:lesion": GOOD.replace("patient", "mask:lesion"),
    "a mask of no class": GOOD.replace(",mask,", ",mask:cyst,"),
    "no class": "image,patient\n" + "".join(f"{n}.png,p{n}\n" for n in range(6)),
    "always tagged": GOOD.replace(",0\n", ",1\n"),
    "never tagged": "image,lesion\n" + "".join(f"{n}.png,0\n" for n in range(6)),
    "one patient": "\n".join([HEAD, *(line.replace(f"p{n}", "p") for n, line in enumerate(LINES))]),
    "one line": "\n".join([HEAD, LINES[0]]),
    "a line twice": GOOD + LINES[2],
    "the same id": GOOD.replace("patient", "id").replace("p3", "p1"),
    "the same mask": GOOD.replace("3_mask", "1_mask"),
    "the image is the mask": GOOD.replace("1_mask", "1"),
}

# What the message names instead of the table.
TOLD = {
    "always tagged": "untagged `lesion`",
    "never tagged": "tagged `lesion`",
    "one patient": "--folds",
    "one line": "--folds",
    "the image is the mask": "1.png",
}

# Of a line: the column, and what stands there.
CELLS: tuple[tuple[str, str], ...] = (
    ("image", ""),
    ("image", "none.png"),
    ("image", "."),
    ("image", "tags.csv"),
    ("image", "0.png\n"),
    ("image", "a\0b.png"),
    ("image", "x" * 300 + ".png"),
    ("mask", "none.png"),
    ("mask", "tags.csv"),
    ("patient", ""),
    ("lesion", "2"),
    ("lesion", "-1"),
    ("lesion", "0.5"),
    ("lesion", "maybe"),
    ("lesion", "3-1"),
    ("lesion", "nan"),
    ("lesion", "1_0"),
    ("lesion", "12-"),
)
IDS = ("../a", "/a", "a//b", ".a", "a\\b", "a:b", "a\tb", "x" * 201, "a\u200bb", "a/../b")


def workbook(damage: str) -> None:
    """Write the table as a workbook that is damaged in some way."""
    book = openpyxl.Workbook()
    for line in GOOD.splitlines():
        book.active.append(line.split(","))
    if damage == "a short line":
        book.active.append(["6.png"])
    if damage == "a formula":
        book.active["D2"] = "=1/0"
    if damage == "a date":
        book.active["D2"] = "2026-12-40"
    book.save("tags.xlsx")
    if damage in ("no sheet", "a damaged sheet"):
        with zipfile.ZipFile("tags.xlsx") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile("tags.xlsx", "w") as archive:
            for name, content in parts.items():
                if "sheet1" not in name:
                    archive.writestr(name, content)
                elif damage == "a damaged sheet":
                    archive.writestr(name, content[:200])


def as_id(name: str) -> None:
    """Give the second case an id."""
    put(GOOD.replace("patient", "id"))(Path("tags.csv"))
    cell(3, "id", name)(Path("tags.csv"))


def ranges(text: str) -> None:
    """Tag slices of a volume."""
    lines = ["image,organ", *(f"c{n}_A.nii.gz,{text if n == 0 else '2-3'}" for n in range(4))]
    Path("tags.csv").write_text("\n".join(lines))


def entries() -> Iterator[Malformed]:
    """Yield all tables."""
    for name, content in CONTENTS.items():
        told = TOLD.get(name, "tags.csv")
        yield Malformed(name, "pictures", COMMAND, told, partial(put(content), Path("tags.csv")))
    for name in ("empty", "a long line", "no column of images", "the same id", "no class"):
        damage = partial(put(CONTENTS[name]), Path("tags.csv"))
        yield Malformed(name, "pictures", "check tags.csv --workers 1", "tags.csv", damage)
    for column, text in CELLS:
        told = {"none.png": "none.png", ".": "", "\0": ""}.get(text, "tags.csv")
        told = "" if column == "image" and "0" in text else told
        damage = partial(cell(3, column, text), Path("tags.csv"))
        yield Malformed(f"{column} {text[:9]!r}", "pictures", COMMAND, told, damage)
    for name in IDS:
        yield Malformed(
            f"id {name[:9]!r}", "pictures", COMMAND, "tags.csv: line 3", partial(as_id, name)
        )
    for text in ("5", "6", "0-6", "3-2", "1;9", "a-b", "1--2", "99999999999999999999-3", ";"):
        yield Malformed(f"slices {text}", "volumes", COMMAND, "tags.csv", partial(ranges, text))
    for name in ("a short line", "a formula", "a date", "no sheet", "a damaged sheet"):
        command = COMMAND.replace("csv", "xlsx")
        yield Malformed(f"xlsx {name}", "pictures", command, "tags.xlsx", partial(workbook, name))


ENTRIES = [*entries()]
