"""Measures per case, the callback that takes them, and training-free rivals."""

from __future__ import annotations

from wsseg.evaluation.callback import CaseEvaluation

__all__ = ["CaseEvaluation"]
