"""The precision that a machine computes fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def native_precision() -> str:
    """Return the Trainer's precision for this machine.

    Where processors compute in bfloat16 it saves a third of the time of a step. Others imitate it,
    which takes longer than float32: the demo would take several times as long.

    Returns:
        "bf16-mixed" or "32-true".
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older versions of torch do not tell; float32 is never slow.
        found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(found.get(flag, False) for flag in CPU_FLAGS)
    return "bf16-mixed" if native else "32-true"
