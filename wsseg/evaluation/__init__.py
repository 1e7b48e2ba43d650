"""Measures per case, the callback that computes them, and training-free baselines."""

from __future__ import annotations

from wsseg.evaluation.callback import CaseEvaluation

__all__ = ["CaseEvaluation"]
