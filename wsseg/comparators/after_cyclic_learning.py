"""After cyclic learning: a classifier of tiles and a network of nuclei teach each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsseg.comparators.after_accumulation import balanced_entropy
from wsseg.comparators.base import Comparator, MakeEncoder, map_head
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import PRIOR_LOGIT, CamOutput
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.network_input import slice_input
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.targets import IGNORE, limited_by, to_targets

# All of these are guesses: the abstract names no value.
SURELY = 0.5  # probability above which a pixel counts as a nucleus
HARDLY = 0.05  # and up to which it does not
FEEDBACK_WEIGHT = 0.1  # of the tags that the classifier tells where nuclei were predicted


class CyclicOutput(NamedTuple):
    """The outputs of both networks."""

    classifier: CamOutput
    """Those of the classifier, whose map is the relevance."""
    nuclei: Tensor
    """Logits of nuclei, [B, C, H, W]."""


class CyclicNetwork(nn.Module):
    """A classifier with a map, and a network of nuclei on the same encoder."""

    def __init__(self, encoder: Any, num_classes: int) -> None:
        """Put both on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.classifier = build_cam_network(encoder, num_classes)
        width = map_head(self.classifier).in_channels
        last = nn.Conv2d(width, num_classes, 1)
        nn.init.constant_(last.bias, PRIOR_LOGIT)  # type: ignore[arg-type]
        self.nuclei = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), last
        )

    def forward(self, image: Tensor, valid: Tensor) -> CyclicOutput:
        """Map a batch of slices, [B, M, H, W] with valid pixels [B, H, W]."""
        output: CamOutput = self.classifier(image, valid)
        return CyclicOutput(output, self.nuclei(output.features))


class AfterCyclicLearning(Comparator):
    """A classifier of tiles and a network of nuclei teach each other in a cycle.

    After "cyclic learning" for weakly supervised instance segmentation of nuclei, IEEE Transactions
    on Medical Imaging 42(10), 2023, of which only a summary of the abstract was available. The
    classifier learns which tiles hold nuclei. Where its map is sure, pixels are labelled, and the
    network of nuclei learns these labels. What that has learnt goes back: both have one encoder,
    and the classifier must also find the tag where nuclei were predicted. The network of nuclei
    predicts.

    Nuclei are told from each other by :func:`wsseg.evaluation.instances.split_instances`. The
    README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterCyclicLearning(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network; see :meth:`Comparator.build_network`."""
        return CyclicNetwork(make_encoder(channels), len(spec.classes))

    def augment(self, batch: Batch) -> Batch:
        """Label pixels by the averaged classifier before they are augmented with the slices."""
        image, valid = batch["image"], batch["valid"]
        with torch.no_grad():
            seen = slice_input(image, valid, self.symmetric)
            output: CyclicOutput = self.teacher.module(seen, valid)
            relevance = output.classifier.cam.float().sigmoid()
            target = confident_labels(relevance, valid, batch["tags"])
        return super().augment({**batch, "target": target})

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of the classifier, of nuclei, and of what nuclei tell it."""
        valid, tags = batch["valid"], batch["tags"]
        output: CyclicOutput = self.network(seen, valid)
        cam, predicted = output.classifier.cam, output.nuclei.detach().sigmoid()
        told = attended_logits(cam, predicted * (predicted > SURELY), valid)
        return {
            "classification": classification_loss(output.classifier.slice_logits, tags),
            "suppression": suppression_loss(cam, valid, tags),
            "feedback": FEEDBACK_WEIGHT * classification_loss(told[None], tags),
            "nuclei": balanced_entropy(output.nuclei, batch["target"]),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the network of nuclei, and tags by the classifier."""
        output: CyclicOutput = network(seen, valid)
        tags = output.classifier.slice_logits.mean(dim=0).sigmoid()
        return SlicePrediction(output.nuclei.sigmoid(), tags)


def confident_labels(relevance: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Label the pixels of which a map is sure by itself, not by comparison with its maximum.

    Labels by the maximum of each tile let nuclei grow or vanish with it.

    Example:
        >>> relevance, valid = torch.tensor([[[[0.01, 0.3, 0.8]]]]), torch.ones(1, 1, 3).bool()
        >>> confident_labels(relevance, valid, tags=torch.ones(1, 1))
        tensor([[[[ 0., -1.,  1.]]]])

    Args:
        relevance: [B, C, H, W] in [0, 1].
        valid: [B, H, W] bool.
        tags: [B, C], 0, 1, or NaN where unknown.

    Returns:
        [B, C, H, W]: 1, 0, or -1 where nothing is said. In untagged tiles all valid pixels are 0.
    """
    label = to_targets(limited_by(tags, relevance), HARDLY, SURELY)
    return label.masked_fill(~valid[:, None], IGNORE)


def attended_logits(maps: Tensor, attention: Tensor, valid: Tensor) -> Tensor:
    """Average a map where attention is.

    Example:
        >>> maps, valid = torch.tensor([[[[1.0, 3.0, 9.0]]]]), torch.tensor([[[True, True, False]]])
        >>> attended_logits(maps, torch.tensor([[[[0.2, 0.6, 1.0]]]]), valid)  # (0.2 + 1.8) / 0.8
        tensor([[2.5000]])

    Args:
        maps: Logits, [B, C, H, W].
        attention: [B, C, H, W] in [0, 1].
        valid: [B, H, W] bool.

    Returns:
        [B, C]; 0 where there is no attention.
    """
    weights = attention.float() * valid[:, None]
    total = weights.sum(dim=(2, 3))
    return (weights * maps.float()).sum(dim=(2, 3)) / total.clamp_min(torch.finfo(total.dtype).tiny)
