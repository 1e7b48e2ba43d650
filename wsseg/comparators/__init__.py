"""Methods from the literature to compare with, each in the same framework and budget.

``wsseg fit`` trains them by their full name, such as ``wsseg.comparators.GradCam``; see
``experiments/comparators/`` and ``experiments/reference/``.
"""

from wsseg.comparators.after_accumulation import AfterAccumulation
from wsseg.comparators.after_compressed_equivariance import AfterCompressedEquivariance
from wsseg.comparators.after_cross_task_supervision import AfterCrossTaskSupervision
from wsseg.comparators.after_cyclic_learning import AfterCyclicLearning
from wsseg.comparators.after_information_maximisation import AfterInformationMaximisation
from wsseg.comparators.after_tssk_net import AfterTsskNet
from wsseg.comparators.after_two_stage_femur import AfterTwoStageFemur
from wsseg.comparators.after_unsupervised_constraints import AfterUnsupervisedConstraints
from wsseg.comparators.base import Comparator
from wsseg.comparators.cross_modality import CrossModality
from wsseg.comparators.decomposition import FeatureDecomposition
from wsseg.comparators.gradient_maps import GradCam, LayerCam
from wsseg.comparators.prototypes import PrototypeCam
from wsseg.comparators.reference import ReferenceCrs
from wsseg.comparators.scorers import ErasureScorer, PurityScorer, VoteScorer
from wsseg.comparators.self_equivariance import SelfEquivariance

__all__ = [
    "AfterAccumulation",
    "AfterCompressedEquivariance",
    "AfterCrossTaskSupervision",
    "AfterCyclicLearning",
    "AfterInformationMaximisation",
    "AfterTsskNet",
    "AfterTwoStageFemur",
    "AfterUnsupervisedConstraints",
    "Comparator",
    "CrossModality",
    "ErasureScorer",
    "FeatureDecomposition",
    "GradCam",
    "LayerCam",
    "PrototypeCam",
    "PurityScorer",
    "ReferenceCrs",
    "SelfEquivariance",
    "VoteScorer",
]
