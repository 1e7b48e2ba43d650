"""Timing with warm-up and repeats, and what a reader must know about the machine.

Processes that preparation starts import this too, so torch is imported where it is needed.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "faiss-cpu", "faiss-gpu-cuvs", "faiss-gpu", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was timed.
        value: The median.
        unit: Of value, low and high.
        low: The smallest of the repeats.
        high: The largest.
        note: What the value is compared with, or why there is none.
    """

    name: str
    value: float | None = None
    unit: str = "s"
    low: float | None = None
    high: float | None = None
    note: str = ""


def device() -> torch.device:
    """Return the GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measure(work: Callable[[], Any], repeats: int = 5, warmup: int = 1) -> list[float]:
    """Return the seconds of each repeat, after warming up.

    Args:
        work: What to time.
        repeats: How often.
        warmup: How often before, untimed.
    """
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_in_turn(
    works: dict[str, Callable[[], Any]], repeats: int = 3, warmup: int = 2
) -> dict[str, list[float]]:
    """Return the seconds of works that are compared: each once, then all again.

    What else the machine does meanwhile then slows all of them.

    Args:
        works: What to time, by name.
        repeats: How often.
        warmup: How often before, untimed.
    """
    for work in works.values():
        measure(work, repeats=0, warmup=warmup)
    rounds = [
        {name: measure(work, 1, 0)[0] for name, work in works.items()} for _ in range(repeats)
    ]
    return {name: [each[name] for each in rounds] for name in works}


def row(name: str, values: list[float], unit: str = "s", note: str = "") -> Row:
    """Sum up repeats as median and spread."""
    return Row(name, statistics.median(values), unit, min(values), max(values), note)


def machine() -> dict[str, str]:
    """Describe hardware, threads and versions."""
    import torch

    from wsseg.utils.system import computes_bfloat16

    found = {"processor": _processor(), "cores": str(os.cpu_count())}
    found["threads"] = str(torch.get_num_threads())
    found["instructions"] = torch.backends.cpu.get_cpu_capability()
    if computes_bfloat16(device()):
        found["instructions"] += ", bfloat16"
    found["load at start"] = f"{os.getloadavg()[0]:.1f}"
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.get_device_name()
    found["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def markdown(section: str, rows: list[Row]) -> str:
    """Return a section as a table."""
    lines = [f"## {section}", "", "| | median | spread | |", "|---|---:|---:|---|"]
    for each in rows:
        value = "" if each.value is None else f"{each.value:.4g} {each.unit}"
        spread = "" if each.low is None else f"{each.low:.4g} to {each.high:.4g}"
        lines.append(f"| {each.name} | {value} | {spread} | {each.note} |")
    return "\n".join(lines) + "\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor()


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
