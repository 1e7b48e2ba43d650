"""A refresh on one, two and four processes that share the cores."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from memory import make_source
from synthetic import write_store
from timing import Row

from wsseg.clustering import EvidenceScorer
from wsseg.clustering.collective import Collective, current_collective
from wsseg.clustering.place import Place
from wsseg.clustering.refresh import Refresh, Settings

STAGES = ("embed", "cluster", "score", "map")


def rows(scale: float) -> list[Row]:
    """Time the second of two refreshes.

    Args:
        scale: Of the number of slices.
    """
    slices, found, alone = max(64, int(500 * scale)), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", slices, 128)
        for processes in (1, 2, 4):
            place = Path(folder) / str(processes)
            place.mkdir()
            mp.start_processes(
                _refresh, (processes, store, place), nprocs=processes, start_method="spawn"
            )
            report = json.loads((place / "report.json").read_text())
            seconds = report["seconds_map"]
            alone = alone or seconds
            note = f"{slices / seconds:.0f} slices/s mapped, {alone / seconds:.2f} times one"
            name = f"{processes} process{'es' * (processes > 1)}, one thread each: refresh"
            found.append(Row(name, report["seconds"], note=note))
    return found


def _refresh(rank: int, processes: int, store: Path, place: Path) -> None:
    torch.set_num_threads(1)
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{place}/group", rank=rank, world_size=processes
        )
    collective: Collective = current_collective(torch.device("cpu"))
    work = Refresh(
        make_source(store), Settings(EvidenceScorer()), Place(place, rank, processes), collective
    )
    state = work.run()
    collective.barrier()
    start = time.perf_counter()
    work.run(*state)
    collective.barrier()
    if rank == 0:
        work.report["seconds"] = time.perf_counter() - start
        (place / "report.json").write_text(json.dumps(work.report))
    if processes > 1:
        dist.destroy_process_group()
