"""Peak memory and time of a refresh as the data grow; every size in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from synthetic import write_store
from timing import Row

from wsseg.clustering import EvidenceScorer, PixelEmbeddings
from wsseg.clustering.collective import Collective
from wsseg.clustering.place import Place
from wsseg.clustering.refresh import Refresh, Settings
from wsseg.clustering.source import EmbeddingSource
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.spec import Batch
from wsseg.models import CamModule

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

    def embed(batch: Batch, activation: bool) -> PixelEmbeddings:
        return module.embed_pixels(batch, activation)

    return EmbeddingSource(data.train_dataloader(), embed)


def _refresh(slices: int) -> None:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        source = make_source(write_store(Path(folder) / "store", slices, SIZE))
        work = Refresh(source, Settings(EvidenceScorer()), Place(Path(folder)), Collective())
        start = time.perf_counter()
        work.run()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sum(1 for _ in source(range(16)))
        start = time.perf_counter()
        sum(1 for _ in source(range(48)))
        forward = (time.perf_counter() - start) / 48
    print(json.dumps({"seconds": seconds, "peak": peak, "forward": forward}))


if __name__ == "__main__":
    from wsseg.allocation import keep_freed_memory

    keep_freed_memory()
    _refresh(int(sys.argv[1]))
