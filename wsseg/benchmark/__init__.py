"""Methods side by side on the same splits, seeds and budget."""

from __future__ import annotations

from wsseg.benchmark.grid import benchmark

__all__ = ["benchmark"]
