"""After unsupervised constraints: a branch finds what another leaves, and clusters help both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.clustering.kmeans import fit_kmeans
from wsseg.comparators.after_accumulation import balanced_entropy
from wsseg.comparators.base import Comparator, MakeEncoder, map_head
from wsseg.comparators.contrast import draw_pixels, supervised_contrast
from wsseg.comparators.explanations import by_slice_maximum
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import PRIOR_LOGIT, TOP_FRACTION, CamOutput, top_mean
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.targets import IGNORE

# All of these are guesses: the abstract names no value.
ERASED_FROM = 0.5  # what the first branch finds more probable is hidden from the second
BATCH_CLUSTERS, CLUSTERED_POINTS = 8, 1024  # of a batch
FOREGROUND = 0.5  # mean of the map, as a share of its maximum in a slice, of foreground clusters
BORDER = 3  # pixels to either side of the border of the map
CONSTRAINT_WEIGHT, CLUSTER_CONTRAST_WEIGHT = 0.5, 0.1


class ErasingNetwork(nn.Module):
    """A CAM network with a second branch, from which the finds of the first are hidden."""

    def __init__(self, encoder: Any, num_classes: int) -> None:
        """Put both branches on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.first = build_cam_network(encoder, num_classes)
        self.second = nn.Conv2d(map_head(self.first).in_channels, num_classes, 1)
        nn.init.constant_(self.second.bias, PRIOR_LOGIT)  # type: ignore[arg-type]

    def forward(self, image: Tensor, valid: Tensor) -> tuple[CamOutput, Tensor]:
        """Return the outputs of the CAM network, and the logits of the second map.

        The tag logits are those of the CAM network, and last those of the second branch.
        """
        output: CamOutput = self.first(image, valid)
        second = self.second(output.features)
        left = remainder(output.cam.detach(), valid)
        pooled = [
            top_mean(second[:, c : c + 1], left[:, c], TOP_FRACTION) for c in range(left.shape[1])
        ]
        logits = torch.cat((output.slice_logits, torch.cat(pooled, dim=1)[None]))
        return output._replace(slice_logits=logits), second


class AfterUnsupervisedConstraints(Comparator):
    """Two branches, of which one finds what the other leaves, and clusters that constrain both.

    After H. Yan, P. Wang, Y. Jia, X. Si, B. Wei, "Combining unsupervised constraints on weakly
    supervised semantic segmentation of skin cancer", Biomedical Physics & Engineering Express
    10(5), 2024, of which only the abstract was available. Both branches learn the tags, the second
    one from what the first one has not found (adversarial erasing; X. Zhang et al., CVPR 2018). The
    map is the maximum of both. The features of the pixels of a batch are clustered, and pulled to
    their clusters by contrast. Clusters in which the map is high are foreground; close to the
    border of the map, pixels of all other clusters are not. The first branch learns both.

    The README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterUnsupervisedConstraints(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network; see :meth:`Comparator.build_network`."""
        return ErasingNetwork(make_encoder(channels), len(spec.classes))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags of both branches, and of the constraints by clusters."""
        valid, tags = batch["valid"], batch["tags"]
        output, second = self.network(seen, valid)
        suppressed = [suppression_loss(cam, valid, tags) for cam in (output.cam, second)]
        both = torch.maximum(output.cam, second).detach().float().sigmoid()
        features = F.normalize(output.features.float(), dim=1)
        cluster, drawn = cluster_pixels(features.detach(), valid)
        target = constraints(cluster, both * valid[:, None], valid, tags)
        points, counts = draw_pixels(
            torch.cat((features, cluster[:, None].float()), dim=1), valid, drawn
        )
        contrast = supervised_contrast(points[:, :-1], points[:, -1].long(), counts)
        return {
            "classification": classification_loss(output.slice_logits, tags),
            "suppression": torch.stack(suppressed).mean(),
            "constraints": CONSTRAINT_WEIGHT * balanced_entropy(output.cam, target),
            "contrast": CLUSTER_CONTRAST_WEIGHT * contrast,
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the maximum of both maps."""
        output, second = network(seen, valid)
        probability = torch.maximum(output.cam, second).sigmoid()
        return SlicePrediction(probability, output.slice_logits.mean(dim=0).sigmoid())


def remainder(cam: Tensor, valid: Tensor) -> Tensor:
    """Return valid pixels that a map does not show.

    Example:
        >>> cam, valid = torch.tensor([[[[-1.0, 1.0, -1.0]]]]), torch.ones(1, 1, 3).bool()
        >>> remainder(cam, valid)
        tensor([[[[ True, False,  True]]]])

    Args:
        cam: Logits, [B, C, H, W].
        valid: [B, H, W] bool.
    """
    return valid[:, None] & (torch.sigmoid(cam) <= ERASED_FROM)


def cluster_pixels(features: Tensor, valid: Tensor) -> tuple[Tensor, int]:
    """Cluster the pixels of a batch by the direction of their features.

    Args:
        features: [B, D, H, W], of length 1.
        valid: [B, H, W] bool.

    Returns:
        The cluster of each pixel, [B, H, W], and how many pixels clusters were made of.
    """
    points, counts = draw_pixels(features, valid, CLUSTERED_POINTS)
    points = points[counts] if counts.any() else points
    number = min(BATCH_CLUSTERS, len(points))
    centres = F.normalize(fit_kmeans(points.contiguous(), number, seed=0), dim=1)
    return torch.einsum("bdhw,kd->bkhw", features, centres).argmax(dim=1), len(points)


def constraints(cluster: Tensor, maps: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Label pixels by their cluster: foreground, and what is none close to the border of a map.

    Args:
        cluster: [B, H, W] int64.
        maps: Probability of each class, 0 outside the body, [B, C, H, W].
        valid: [B, H, W] bool.
        tags: [B, C], 0 or 1.

    Returns:
        [B, C, H, W]: 1, 0, or -1 where clusters say nothing, as in all untagged slices.
    """
    shown = by_slice_maximum(maps)
    counts = (valid[:, None] & (tags > 0.5)[:, :, None, None]).to(maps.dtype)
    members = F.one_hot(cluster, BATCH_CLUSTERS).to(maps.dtype)
    sums = torch.einsum("bhwk,bchw->ck", members, shown * counts)
    sizes = torch.einsum("bhwk,bchw->ck", members, counts)
    relevant = sums / sizes.clamp_min(1) > FOREGROUND
    foreground = relevant[:, cluster].movedim(0, 1)
    decided = foreground | border(shown > FOREGROUND)
    return torch.where(decided & (counts > 0), foreground.to(maps.dtype), IGNORE)


def border(mask: Tensor) -> Tensor:
    """Return the pixels within :data:`BORDER` of the border of a mask [B, C, H, W]."""
    size = 2 * BORDER + 1
    grown, shrunk = (
        F.max_pool2d(side.float(), size, stride=1, padding=BORDER) > 0 for side in (mask, ~mask)
    )
    return grown & shrunk
