"""The second stage: a segmentation network trained on the masks that the first stage makes."""

from wsseg.segmentation.module import SegmentationModule
from wsseg.segmentation.pseudo_masks import PseudoMasks
from wsseg.segmentation.source import TargetSource

__all__ = ["PseudoMasks", "SegmentationModule", "TargetSource"]
