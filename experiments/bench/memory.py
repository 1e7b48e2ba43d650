"""Peak memory and time of a refresh as the data grow; every size in a process of its own.

Memory is what the process itself holds (Linux's RssAnon). Pages of mapped files, here of the
slices, count as resident too, but the kernel takes them back when anyone needs room.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from synthetic import write_store
from timing import Row

from wsseg.clustering import Asymmetry, ClusteringOptions, Deviation, EvidenceScorer
from wsseg.clustering.refresh import Refresh
from wsseg.clustering.slices import TrainingSlices
from wsseg.clustering.source import EmbeddingSource
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.models import CamModule
from wsseg.utils.distributed import Collective
from wsseg.utils.map_folder import MapFolder

SIZE = 64  # pixels: 16 times the slices must fit into the time


def rows(scale: float) -> list[Row]:
    """Refresh one, four and sixteen times the slices.

    Args:
        scale: Of the number of slices.
    """
    found, seen = [], []
    for factor in (1, 4, 16):
        slices = int(factor * max(60, 300 * scale))
        done = subprocess.run(
            [sys.executable, __file__, str(slices)], check=True, capture_output=True, text=True
        )
        result = json.loads(done.stdout.splitlines()[-1])
        seen.append((slices, result["seconds"], result["peak"], result["forward"]))
        note = f"{result['seconds']:.2f} s, {result['peak'] / seen[0][2]:.3f} times the first"
        name = f"{slices:,} slices of {SIZE} x {SIZE}: peak memory"
        found.append(Row(name, result["peak"], "MiB", note=note))
    counts, seconds = (np.array([each[i] for each in seen], float) for i in (0, 1))
    slope, start = np.polyfit(counts, seconds, 1)
    worst = float(np.abs(slope * counts + start - seconds).max() / seconds.max())
    forward = seen[-1][3]
    note = f"{slope / forward:.2f} times the forward pass; off the line by {worst:.1%} at most"
    return [*found, Row("time of a further slice", 1000 * slope, "ms", note=note)]


def make_source(store: Path) -> EmbeddingSource:
    """Return the training slices of a store, embedded by the quickstart's module."""
    data = MRISliceDataModule(str(store))
    data.setup("fit")
    module = CamModule(data.spec.to_dict()).eval()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    return EmbeddingSource(TrainingSlices(data.train_dataloader()), trainer, module)


def make_refresh(source: EmbeddingSource, folder: MapFolder, collective: Collective) -> Refresh:
    """Return a refresh as the quickstart makes it."""
    views = [Asymmetry(), Deviation()]
    return Refresh(source, ClusteringOptions(), EvidenceScorer(), views, folder, collective)


class PeakMemory:
    """Watches the memory of this process while a block runs; ``peak`` is in MiB."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.peak = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.peak = max(self.peak, int(line.split()[1]) / 1024)


def _refresh(slices: int) -> None:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        source = make_source(write_store(Path(folder) / "store", slices, SIZE))
        work = make_refresh(source, MapFolder(Path(folder)), Collective())
        with PeakMemory() as memory:
            start = time.perf_counter()
            work.run()
            seconds = time.perf_counter() - start
        sum(1 for _ in source.embed(range(16)))
        start = time.perf_counter()
        sum(1 for _ in source.embed(range(48)))
        forward = (time.perf_counter() - start) / 48
    print(json.dumps({"seconds": seconds, "peak": memory.peak, "forward": forward}))


if __name__ == "__main__":
    from wsseg.utils.system import keep_freed_memory

    keep_freed_memory()
    _refresh(int(sys.argv[1]))
