"""Cluster-Re-Supervision for any Lightning project; of wsseg it imports only ``wsseg.utils``."""

from wsseg.clustering.adapter import ClassifierAdapter
from wsseg.clustering.asymmetry import Asymmetry, asymmetry
from wsseg.clustering.callback import ClusterReSupervision
from wsseg.clustering.clusters import Clusters
from wsseg.clustering.deviation import Deviation
from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.options import ClusteringOptions
from wsseg.clustering.scorers import EvidenceScorer, Scorer, focus, purity
from wsseg.clustering.statistics import TAGGED, UNTAGGED, ClusterStatistics
from wsseg.clustering.table import ClusterTable
from wsseg.clustering.views import View, image_of

__all__ = [
    "TAGGED",
    "UNTAGGED",
    "Asymmetry",
    "ClassifierAdapter",
    "ClusterReSupervision",
    "ClusterStatistics",
    "ClusterTable",
    "ClusteringOptions",
    "Clusters",
    "Deviation",
    "EvidenceScorer",
    "PixelEmbeddings",
    "Scorer",
    "View",
    "asymmetry",
    "focus",
    "image_of",
    "purity",
]
