"""Cluster-Re-Supervision for any Lightning project; imports nothing else of wsseg."""

from wsseg.clustering.callback import ClusterReSupervision
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.errors import ClusteringError
from wsseg.clustering.scorers import (
    ErasureScorer,
    EvidenceScorer,
    PurityScorer,
    Scorer,
    VoteScorer,
)
from wsseg.clustering.statistics import ClusterStatistics

__all__ = [
    "ClusterReSupervision",
    "ClusterStatistics",
    "ClusteringError",
    "ErasureScorer",
    "EvidenceScorer",
    "PixelEmbeddings",
    "PurityScorer",
    "Scorer",
    "VoteScorer",
]
