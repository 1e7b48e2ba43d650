"""Operating system and processor: memory, child processes, and the fastest precision."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line sets up memory before it spends a second on importing torch
    import torch

# M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX of malloc.h
TRIM_THRESHOLD, MAPPED_BLOCKS, ARENAS = -1, -4, -8
NEVER = 2**31 - 1
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl.h
CONTAINER = Path("/sys/fs/cgroup")
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for the next tensors instead of returning it.

    By default glibc asks the kernel for every tensor above 32 MiB and returns it when it is freed,
    so that the kernel clears the memory of every activation anew at every step. A training step of
    the quickstart's network on 16 slices of 240 x 240 took 312 ms a slice that way and 165 ms when
    memory is kept (one thread; 61 and 48 ms at 128 x 128). All threads share one arena: with an
    arena each, four threads took 175 to 400 ms to read a case, with a shared one 105 ms.

    Returns:
        Whether the C library has the setting; C libraries other than glibc are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((MAPPED_BLOCKS, 0), (TRIM_THRESHOLD, NEVER), (ARENAS, 1))
    return all(mallopt(*setting) for setting in settings)


def available_memory() -> int:
    """Return how many bytes of memory this process can still take.

    That is what the computer has left, or the limit of a container or of ``ulimit -v`` leaves.

    Example:
        >>> available_memory() > 2**20
        True
    """
    page = os.sysconf("SC_PAGE_SIZE")
    left = [os.sysconf("SC_AVPHYS_PAGES") * page]
    with suppress(OSError, StopIteration):  # counts what the kernel would give back
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = [1024 * int(next(each for each in lines if each.startswith("MemAvail")).split()[1])]
    with suppress(OSError, ValueError):  # of a container; "max" if it has no limit
        most, used = (CONTAINER / f"memory.{name}" for name in ("max", "current"))
        left.append(int(most.read_text()) - int(used.read_text()))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        left.append(limit - page * int(Path("/proc/self/statm").read_text().split()[0]))
    return max(0, min(left))


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends.

    A process that is killed cannot end its children itself.

    Args:
        parent: Number of the process that started this one, which may have ended already.
    """
    ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a processor has instructions for bfloat16.

    With them, bfloat16 halves the time of a training step (two cores of an Intel Xeon, section
    ``steps`` of ``make bench``). Without them it is emulated and takes ten times as long as float32
    (24 s a step instead of 2.2 s on an AMD EPYC with AVX2 only).

    Args:
        device: The device.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch lack the function; the answer is then no, since float32 is never slow.
    flags: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(flags.get(flag, False) for flag in BFLOAT16_FLAGS)


def native_precision() -> str:
    """Return the Trainer's fastest precision on this machine, "bf16-mixed" or "32-true".

    On a GPU, launching kernels takes most of a step of networks this small, and mixed precision
    launches more of them: 35 ms instead of 26 on an H200 (section ``steps`` of ``make bench``).

    Example:
        >>> native_precision() in ("bf16-mixed", "32-true")
        True
    """
    import torch

    if torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if computes_bfloat16(torch.device("cpu")) else "32-true"
