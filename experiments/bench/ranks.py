"""A refresh on one, two and four processes that share the cores."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from memory import make_refresh, make_source
from synthetic import write_store
from timing import Row, row
from torch.multiprocessing.spawn import start_processes

from wsseg.utils.distributed import Collective, current_collective
from wsseg.utils.map_folder import MapFolder
from wsseg.utils.system import keep_freed_memory

REPEATS = 3  # after a first refresh, which warms up


def rows(scale: float) -> list[Row]:
    """Time refreshes.

    Args:
        scale: Of the number of slices.
    """
    slices, found, alone = max(64, int(500 * scale)), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", slices, 128)
        for processes in (1, 2, 4):
            place = Path(folder) / str(processes)
            place.mkdir()
            start_processes(
                _refresh, (processes, store, place), nprocs=processes, start_method="spawn"
            )
            reports = json.loads((place / "reports.json").read_text())
            name = f"{processes} process{'es' * (processes > 1)}, one thread each"
            found.append(row(f"{name}: refresh", [each["seconds"] for each in reports]))
            mapping = [each["seconds_map"] for each in reports]
            alone = alone or statistics.median(mapping)
            note = f"{alone / statistics.median(mapping):.2f} times as fast as one"
            found.append(row(f"{name}: assigning and mapping {slices} slices", mapping, note=note))
    return found


@torch.inference_mode()
def _refresh(rank: int, processes: int, store: Path, place: Path) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{place}/group", rank=rank, world_size=processes
        )
    collective: Collective = current_collective(torch.device("cpu"))
    source, where = make_source(store), MapFolder(place, rank, processes)
    state = make_refresh(source, where, collective).run()
    reports = []
    for _ in range(REPEATS):
        work = make_refresh(source, where, collective)
        collective.maximum(0)  # waits for all processes
        start = time.perf_counter()
        state = work.run(*state)
        collective.maximum(0)
        reports.append({**work.report, "seconds": time.perf_counter() - start})
    if rank == 0:
        (place / "reports.json").write_text(json.dumps(reports))
    if processes > 1:
        dist.destroy_process_group()
