"""Self-equivariance in the manner of SEAM: the map of a moved slice is the slice's moved map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, Finding
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss, suppression_loss

COARSE = 4  # pixels are compared with each other at a quarter of the resolution


class SelfEquivariance(Comparator):
    """Plain CAM with SEAM's two equivariance losses.

    Y. Wang, J. Zhang, M. Kan, S. Shan, X. Chen, "Self-supervised Equivariant Attention Mechanism
    for Weakly Supervised Semantic Segmentation", CVPR 2020. Both branches learn the tags; the map
    of the moved slice must equal the moved map (equivariant regularisation), and each must equal
    the other after pixel correlation (equivariant cross regularisation). Maps are sigmoids
    instead of ReLU over maximum, so that the fixed threshold of plain CAM holds; pixel correlation
    works on the decoder's features at a quarter of the resolution and is used in training only.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        equivariance_weight: float = 1.0,
        cross_weight: float = 1.0,
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network; see :class:`Comparator` for what is not described here.

        Args:
            spec: The data specification.
            equivariance_weight: Weight of the equivariant regularisation.
            cross_weight: Weight of the equivariant cross regularisation.
            encoder: Name of the encoder.
            widths: Channels of each level.
            lr: Peak learning rate.
            weight_decay: Weight decay.
            teacher_decay: How slow the teacher is.
            augmentation: Random changes of training batches.
        """
        super().__init__(spec, encoder, widths, lr, weight_decay, teacher_decay, augmentation)

    def losses(self, view: Batch) -> dict[str, Tensor]:
        """Tags and suppression on both branches, and equivariance between them."""
        image, valid, tags = view["image"], view["valid"], view["tags"]
        grid = random_grid(len(image), (image.shape[2], image.shape[3]), image.device)
        there = move_valid(valid, grid)
        first: CamOutput = self.network(image, valid)
        second: CamOutput = self.network(move(image, grid) * there[:, None], there)
        branches = ((first, valid), (second, there))
        classified = [classification_loss(out.slice_logits, tags) for out, _ in branches]
        suppressed = [suppression_loss(out.cam, inside, tags) for out, inside in branches]
        maps = [torch.sigmoid(out.cam) * inside[:, None] for out, inside in branches]
        cross = cross_loss(maps, (first.features, second.features), grid)
        equal = _distance(move(maps[0], grid), maps[1], there)
        return {
            "classification": torch.stack(classified).mean(),
            "suppression": torch.stack(suppressed).mean(),
            "equivariance": self.hparams["equivariance_weight"] * equal,
            "cross": self.hparams["cross_weight"] * cross,
        }

    def find(self, network: nn.Module, image: Tensor, valid: Tensor) -> Finding:
        """See :meth:`Comparator.find`."""
        output: CamOutput = network(image, valid)
        return Finding(torch.sigmoid(output.cam), output.slice_logits.mean(dim=0).sigmoid())


def pixel_correlation(maps: Tensor, features: Tensor) -> Tensor:
    """Replace each pixel of a map by the mean of pixels that look like it.

    Args:
        maps: [B, C, h, w].
        features: [B, D, h, w]; pixels count by the positive part of their cosine.

    Returns:
        [B, C, h, w].
    """
    unit = F.normalize(features.flatten(2).float(), dim=1)
    affinity = torch.einsum("bdi,bdj->bij", unit, unit).relu()
    affinity = affinity / affinity.sum(dim=1, keepdim=True).clamp_min(1e-5)
    return torch.bmm(maps.flatten(2).float(), affinity).view_as(maps)


def cross_loss(maps: Sequence[Tensor], features: Sequence[Tensor], grid: Tensor) -> Tensor:
    """Compare each branch's map with the other's map after pixel correlation.

    Args:
        maps: Of the slice and of the moved slice, [B, C, H, W] each.
        features: Under them, [B, D, H, W] each.
        grid: How the slice was moved.

    Returns:
        A scalar.
    """
    size = (maps[0].shape[-2] // COARSE, maps[0].shape[-1] // COARSE)
    coarse = [F.adaptive_avg_pool2d(each, size) for each in maps]
    looks = [F.adaptive_avg_pool2d(each.detach(), size) for each in features]
    refined = [pixel_correlation(m, f) for m, f in zip(coarse, looks, strict=True)]
    steps = F.adaptive_avg_pool2d(grid.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    forth = (move(refined[0], steps) - coarse[1]).abs().mean()
    back = (move(coarse[0], steps) - refined[1]).abs().mean()
    return forth + back


def _distance(one: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    counts = valid[:, None].expand_as(one)
    return ((one - other).abs() * counts).sum() / counts.sum().clamp_min(1)
