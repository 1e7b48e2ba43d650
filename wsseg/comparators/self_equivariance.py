"""Self-equivariance, one half of SEAM: the map of a moved slice is the slice's moved map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsseg.comparators.base import Comparator
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.slice_module import SlicePrediction


class SelfEquivariance(Comparator):
    """Plain CAM with the equivariant regularisation of SEAM, and no more of it.

    Y. Wang, J. Zhang, M. Kan, S. Shan, X. Chen, "Self-supervised Equivariant Attention Mechanism
    for Weakly Supervised Semantic Segmentation", CVPR 2020. Both branches learn the tags, and the
    map of the moved slice must equal the moved map. Maps are sigmoids instead of ReLU over maximum,
    so that the fixed threshold of plain CAM holds. This is not SEAM: its pixel correlation module,
    whose refined maps are also what SEAM predicts with, is left out together with the loss on them.
    It works at an eighth of the resolution, where these maps have all of it.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        equivariance_weight: float = 1.0,
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        sharpening: float = 0.0,
        smallest_component: float = 0.1,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network; see :class:`Comparator` for what is not described here.

        Args:
            spec: The data specification.
            equivariance_weight: Weight of the equivariant regularisation.
            encoder: Name of the encoder.
            widths: Channels of each level.
            lr: Peak learning rate.
            weight_decay: Weight decay.
            teacher_decay: Share of the averaged weights that every step keeps.
            sharpening: Strength of border refinement by each patient's own intensities, as in
                wsseg's own modules; 0, as published, leaves borders as predicted.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all.
            augmentation: Random changes of training batches.
        """
        super().__init__(
            spec,
            encoder,
            widths,
            lr,
            weight_decay,
            teacher_decay,
            sharpening,
            smallest_component,
            augmentation,
        )

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
        equal = distance(move(maps[0], grid), maps[1], there)
        return {
            "classification": torch.stack(classified).mean(),
            "suppression": torch.stack(suppressed).mean(),
            "equivariance": self.hparams["equivariance_weight"] * equal,
        }

    def predict_with(self, network: nn.Module, image: Tensor, valid: Tensor) -> SlicePrediction:
        """See :meth:`Comparator.predict_with`."""
        output: CamOutput = network(image, valid)
        return SlicePrediction(torch.sigmoid(output.cam), output.slice_logits.mean(dim=0).sigmoid())


def distance(one: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference of two maps [B, C, H, W] where they are valid [B, H, W]."""
    counts = valid[:, None].expand_as(one)
    return ((one - other).abs() * counts).sum() / counts.sum().clamp_min(1)
