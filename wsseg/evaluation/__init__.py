"""Measures per case, what can be said without masks, callbacks of both, training-free baselines."""

from __future__ import annotations

from wsseg.evaluation.agreement import MapAgreement
from wsseg.evaluation.callback import CaseEvaluation
from wsseg.evaluation.instance_evaluation import InstanceEvaluation
from wsseg.evaluation.suspicious_tags import SuspiciousTags

__all__ = ["CaseEvaluation", "InstanceEvaluation", "MapAgreement", "SuspiciousTags"]
