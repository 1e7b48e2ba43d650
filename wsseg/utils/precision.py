"""The precision that a machine computes fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import device

CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def computes_bfloat16(where: device) -> bool:
    """Return whether a processor has instructions for bfloat16.

    Where it has, bfloat16 halves the time of a training step (two cores of an Intel Xeon, section
    ``steps`` of ``make bench``). Others imitate it, which takes ten times as long as float32 (24 s
    a step instead of 2.2 s on an AMD EPYC with AVX2 only).

    Args:
        where: The device.
    """
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch do not tell; float32 is never slow.
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return where.type == "cpu" and any(found.get(flag, False) for flag in CPU_FLAGS)


def native_precision() -> str:
    """Return the Trainer's fastest precision on this machine, "bf16-mixed" or "32-true".

    On a GPU a step of networks this small takes as long as it takes to launch, and mixed precision
    launches more: 35 ms instead of 26 on an H200 (section ``steps`` of ``make bench``).
    """
    if torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if computes_bfloat16(device("cpu")) else "32-true"
