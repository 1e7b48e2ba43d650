"""Grad-CAM and LayerCAM: a classifier of slices, explained by its gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, MakeEncoder
from wsseg.comparators.explanations import (
    Explain,
    explain_levels,
    gated,
    grad_cam,
    gradients_enabled,
    layer_cam,
)
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.encoders import Encoder
from wsseg.models.slice_module import SlicePrediction


class SliceClassifier(nn.Module):
    """An encoder, the global average of its deepest level, and a linear layer."""

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        """Put the linear layer on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.widths[-1], num_classes)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [B, C] and the levels of slices [B, M, H, W], finest first."""
        levels = self.encoder(image)
        return self.head(levels[-1].mean(dim=(2, 3))), levels


class GradCam(Comparator):
    """Grad-CAM of the deepest level of a classifier of slices.

    R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", ICCV 2017. The map of a slice
    is scaled to a maximum of 1 and shown where the classifier predicts the tag.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = GradCam(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    explain: Explain = staticmethod(grad_cam)
    explained = slice(-1, None)
    """The levels of the encoder that are explained: the deepest."""

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make a classifier of slices."""
        return SliceClassifier(make_encoder(channels), len(spec.classes))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the loss of classification; maps are made afterwards."""
        logits, _ = self.network(seen)
        return {"classification": F.binary_cross_entropy_with_logits(logits, batch["tags"])}

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict tags, and explain these by maps."""
        with gradients_enabled():
            logits, levels = network(seen.clone().requires_grad_())
            maps = explain_levels(levels[self.explained], logits, self.explain, seen.shape[-2:])
        tags = torch.sigmoid(logits.detach().float())
        return SlicePrediction(gated(maps.detach(), valid, tags), tags)


class LayerCam(GradCam):
    """LayerCAM of all levels of a classifier of slices.

    P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei, "LayerCAM: Exploring Hierarchical Class
    Activation Maps for Localization", IEEE Transactions on Image Processing 30, 2021. Against the
    grid of pooled gradients, the activations of a level are multiplied by the upsampled gradient of
    what the next level sees, as in the public code. Fusion by the maximum and tanh for shallow
    levels are the paper's, the public code has none. Training and scale of the maps are those of
    :class:`GradCam`.
    """

    explain: Explain = staticmethod(layer_cam)
    explained = slice(None)
