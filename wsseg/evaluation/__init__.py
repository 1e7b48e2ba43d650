"""Measures per case, a score without masks, the callbacks of both, and training-free baselines."""

from __future__ import annotations

from wsseg.evaluation.agreement import MapAgreement
from wsseg.evaluation.callback import CaseEvaluation

__all__ = ["CaseEvaluation", "MapAgreement"]
