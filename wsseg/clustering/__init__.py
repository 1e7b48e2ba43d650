"""Cluster-Re-Supervision for any Lightning project; imports nothing of wsseg but ``utils``."""

from wsseg.clustering.callback import ClusterReSupervision
from wsseg.clustering.deviation import appearance
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.scorers import (
    ErasureScorer,
    EvidenceScorer,
    PurityScorer,
    Scorer,
    VoteScorer,
    focus,
    purity,
)
from wsseg.clustering.statistics import TAGGED, UNTAGGED, ClusterStatistics
from wsseg.clustering.symmetry import asymmetry
from wsseg.utils.errors import InputError

__all__ = [
    "TAGGED",
    "UNTAGGED",
    "ClusterReSupervision",
    "ClusterStatistics",
    "ErasureScorer",
    "EvidenceScorer",
    "InputError",
    "PixelEmbeddings",
    "PurityScorer",
    "Scorer",
    "VoteScorer",
    "appearance",
    "asymmetry",
    "focus",
    "purity",
]
