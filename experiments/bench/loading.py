"""Slices per second from the store, with a module that does nothing, and what training takes."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from steps import quickstart_step
from synthetic import write_store
from timing import Row, measure, row

from wsseg.data.datamodule import MRISliceDataModule


def rows(scale: float) -> list[Row]:
    """Time an epoch of loading at two sizes.

    Args:
        scale: Of the number of slices.
    """
    found = []
    for size, slices in ((128, 1000), (240, 400)):
        count = max(32, int(slices * scale))
        with tempfile.TemporaryDirectory() as folder:
            data = MRISliceDataModule(str(write_store(Path(folder), count, size)))
            data.setup("fit")
            loader = data.train_dataloader()
            seconds = measure(partial(_drain, loader))
        step = min(measure(quickstart_step(size, 16), repeats=2))
        rates = [count / each for each in seconds]
        served = row(f"{size} x {size} x 4: loader", rates, "slices/s")
        need = 16 / step
        note = f"training takes {need:.0f} slices/s: {(served.value or 0) / need:.0f} times that"
        found.append(row(served.name, rates, "slices/s", note))
    return found


def _drain(loader: Any) -> int:
    return sum(len(batch["index"]) for batch in loader)
