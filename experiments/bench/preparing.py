"""Preparation of cases of BraTS, beside reading and decompressing their files and no more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from reading import read, read_plainly
from synthetic import write_case
from timing import Row, measure_in_turn, row

from wsseg.data.preparation import prepare
from wsseg.data.workers import mapper

CASES = 16


def rows(scale: float) -> list[Row]:
    """Prepare some cases, in as many processes as there are cores.

    Args:
        scale: Of the number of slices of a case.
    """
    depth = max(8, int(155 * scale))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        for number in range(CASES):
            write_case(source / f"case_{number}", depth, seed=number)

        files = sorted(source.rglob("*.nii.gz"))

        def read_all() -> None:
            with mapper(None, CASES) as run:
                run("Reading", read, files)

        def nibabel() -> None:
            with mapper(None, CASES) as run:
                run("Reading", read_plainly, files)

        def whole() -> None:
            prepare("brats", source, out, overwrite=True, seed=next(seeds))

        seeds = iter(range(100))  # else the store is found to be there already
        works = {"plain": nibabel, "bound": read_all, "whole": whole}
        found = measure_in_turn(works, repeats=5, warmup=1)
        plain, bound, seconds = ([each / CASES for each in found[name]] for name in works)
    name = f"{CASES} cases of 240 x 240 x {depth} x 4 with masks"
    of_plain, share = (median(each) / median(seconds) for each in (plain, bound))
    return [
        row(f"{name}: reading with nibabel", plain, note="a case; by Python's gzip"),
        row(f"{name}: reading and decompressing", bound, note="a case; by isal, with CRCs checked"),
        row(
            f"{name}: wsseg prepare",
            seconds,
            note=f"a case; {of_plain:.0%} of nibabel's speed, {share:.0%} of that by isal",
        ),
    ]
