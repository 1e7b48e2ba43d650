"""Cluster-Re-Supervision for any Lightning project; imports nothing else of wsseg."""

from wsseg.clustering.callback import ClusterReSupervision
from wsseg.clustering.deviation import appearance
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.errors import ClusteringError
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

__all__ = [
    "TAGGED",
    "UNTAGGED",
    "ClusterReSupervision",
    "ClusterStatistics",
    "ClusteringError",
    "ErasureScorer",
    "EvidenceScorer",
    "PixelEmbeddings",
    "PurityScorer",
    "Scorer",
    "VoteScorer",
    "appearance",
    "asymmetry",
    "focus",
    "purity",
]
